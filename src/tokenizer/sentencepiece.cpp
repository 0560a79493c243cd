/* See sentencepiece.h. No exception leaves these functions: what fails for lack of memory
 * is a failure like others. */
#include "tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <exception>
#include <string_view>
#include <vector>

struct uly__sentencepiece {
  sentencepiece::SentencePieceProcessor processor;
};

uly__sentencepiece *uly__sentencepiece_load(const char *bytes, int64_t n, char *why,
                                            int64_t capacity) {
  uly__sentencepiece *model = nullptr;
  try {
    model = new uly__sentencepiece;
    const std::string_view file(bytes, static_cast<size_t>(n));
    const auto status = model->processor.LoadFromSerializedProto(file);
    if (status.ok()) return model;
    std::snprintf(why, static_cast<size_t>(capacity), "%s", status.error_message());
  } catch (const std::exception &error) {
    std::snprintf(why, static_cast<size_t>(capacity), "%s", error.what());
  }
  delete model;
  return nullptr;
}

void uly__sentencepiece_free(uly__sentencepiece *model) { delete model; }

int64_t uly__sentencepiece_num(const uly__sentencepiece *model) {
  return model->processor.GetPieceSize();
}

const char *uly__sentencepiece_get(const uly__sentencepiece *model, int64_t id, int64_t *n,
                                   uly__piece_kind *kind) {
  const int index = static_cast<int>(id);
  const auto &processor = model->processor;
  const std::string &piece = processor.IdToPiece(index);
  *n = static_cast<int64_t>(piece.size());
  *kind = processor.IsControl(index)   ? ULY__PIECE_CONTROL
          : processor.IsUnknown(index) ? ULY__PIECE_UNKNOWN
          : processor.IsByte(index)    ? ULY__PIECE_BYTE
                                       : ULY__PIECE_TEXT;
  return piece.c_str();
}

int64_t uly__sentencepiece_bos(const uly__sentencepiece *model) {
  return model->processor.bos_id();
}

int64_t uly__sentencepiece_eos(const uly__sentencepiece *model) {
  return model->processor.eos_id();
}

int64_t uly__sentencepiece_unk(const uly__sentencepiece *model) {
  return model->processor.unk_id();
}

int uly__sentencepiece_encode(const uly__sentencepiece *model, const char *text, int64_t n,
                              void (*take)(void *context, const int *ids, int64_t num),
                              void *context) {
  try {
    std::vector<int> ids;
    const std::string_view view(text, static_cast<size_t>(n));
    if (!model->processor.Encode(view, &ids).ok()) return 0;
    take(context, ids.data(), static_cast<int64_t>(ids.size()));
    return 1;
  } catch (const std::exception &) {
    return 0;
  }
}
