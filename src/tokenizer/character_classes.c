/* See character_classes.h. */
#include "tokenizer/character_classes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Characters that Unicode 15.1 and 16 added. A utf8proc that knows them says the same. */
static const struct {
  uint32_t first, last;
  uint16_t class;
} added[] = {
    {0x897, 0x897, ULY__MARK},         {0x1b4e, 0x1b4f, ULY__PUNCT},
    {0x1b7f, 0x1b7f, ULY__PUNCT},      {0x1c89, 0x1c89, ULY__UPPER},
    {0x1c8a, 0x1c8a, ULY__LOWER},      {0x2427, 0x2429, ULY__SYMBOL},
    {0x2ffc, 0x2fff, ULY__SYMBOL},     {0x31e4, 0x31e5, ULY__SYMBOL},
    {0x31ef, 0x31ef, ULY__SYMBOL},     {0xa7cb, 0xa7cc, ULY__UPPER},
    {0xa7cd, 0xa7cd, ULY__LOWER},      {0xa7da, 0xa7da, ULY__UPPER},
    {0xa7db, 0xa7db, ULY__LOWER},      {0xa7dc, 0xa7dc, ULY__UPPER},
    {0x105c0, 0x105f3, ULY__CASELESS}, {0x10d40, 0x10d49, ULY__NUMBER},
    {0x10d4a, 0x10d4f, ULY__CASELESS}, {0x10d50, 0x10d65, ULY__UPPER},
    {0x10d69, 0x10d6d, ULY__MARK},     {0x10d6e, 0x10d6e, ULY__PUNCT},
    {0x10d6f, 0x10d6f, ULY__CASELESS}, {0x10d70, 0x10d85, ULY__LOWER},
    {0x10d8e, 0x10d8f, ULY__SYMBOL},   {0x10ec2, 0x10ec4, ULY__CASELESS},
    {0x10efc, 0x10efc, ULY__MARK},     {0x11380, 0x11389, ULY__CASELESS},
    {0x1138b, 0x1138b, ULY__CASELESS}, {0x1138e, 0x1138e, ULY__CASELESS},
    {0x11390, 0x113b5, ULY__CASELESS}, {0x113b7, 0x113b7, ULY__CASELESS},
    {0x113b8, 0x113c0, ULY__MARK},     {0x113c2, 0x113c2, ULY__MARK},
    {0x113c5, 0x113c5, ULY__MARK},     {0x113c7, 0x113ca, ULY__MARK},
    {0x113cc, 0x113d0, ULY__MARK},     {0x113d1, 0x113d1, ULY__CASELESS},
    {0x113d2, 0x113d2, ULY__MARK},     {0x113d3, 0x113d3, ULY__CASELESS},
    {0x113d4, 0x113d5, ULY__PUNCT},    {0x113d7, 0x113d8, ULY__PUNCT},
    {0x113e1, 0x113e2, ULY__MARK},     {0x116d0, 0x116e3, ULY__NUMBER},
    {0x11bc0, 0x11be0, ULY__CASELESS}, {0x11be1, 0x11be1, ULY__PUNCT},
    {0x11bf0, 0x11bf9, ULY__NUMBER},   {0x11f5a, 0x11f5a, ULY__MARK},
    {0x13460, 0x143fa, ULY__CASELESS}, {0x16100, 0x1611d, ULY__CASELESS},
    {0x1611e, 0x1612f, ULY__MARK},     {0x16130, 0x16139, ULY__NUMBER},
    {0x16d40, 0x16d6c, ULY__CASELESS}, {0x16d6d, 0x16d6f, ULY__PUNCT},
    {0x16d70, 0x16d79, ULY__NUMBER},   {0x18cff, 0x18cff, ULY__CASELESS},
    {0x1cc00, 0x1ccef, ULY__SYMBOL},   {0x1ccf0, 0x1ccf9, ULY__NUMBER},
    {0x1cd00, 0x1ceb3, ULY__SYMBOL},   {0x1e5d0, 0x1e5ed, ULY__CASELESS},
    {0x1e5ee, 0x1e5ef, ULY__MARK},     {0x1e5f0, 0x1e5f0, ULY__CASELESS},
    {0x1e5f1, 0x1e5fa, ULY__NUMBER},   {0x1e5ff, 0x1e5ff, ULY__PUNCT},
    {0x1f8b2, 0x1f8bb, ULY__SYMBOL},   {0x1f8c0, 0x1f8c1, ULY__SYMBOL},
    {0x1fa89, 0x1fa89, ULY__SYMBOL},   {0x1fa8f, 0x1fa8f, ULY__SYMBOL},
    {0x1fabe, 0x1fabe, ULY__SYMBOL},   {0x1fac6, 0x1fac6, ULY__SYMBOL},
    {0x1fadc, 0x1fadc, ULY__SYMBOL},   {0x1fadf, 0x1fadf, ULY__SYMBOL},
    {0x1fae9, 0x1fae9, ULY__SYMBOL},   {0x1fbcb, 0x1fbef, ULY__SYMBOL},
    {0x2ebf0, 0x2ee5d, ULY__CASELESS},
};

static bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

static uint16_t find_class(uint32_t c) {
  if (c == '\r' || c == '\n') return ULY__NEWLINE;
  if (is_white_space(c)) return ULY__BLANK;
  switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return ULY__UPPER;
    case UTF8PROC_CATEGORY_LL: return ULY__LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return ULY__CASELESS;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return ULY__MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return ULY__NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return ULY__PUNCT;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return ULY__SYMBOL;
    default: break;
  }
  return ULY__OTHER;
}

enum { NUM_PAGES = 0x1100 };

static uly__class_table table;

/* Fills one page, with the rows of `added` from *row on that lie in it. */
static void fill_page(uint32_t page, size_t *row, uint16_t out[256]) {
  size_t num_rows = sizeof added / sizeof added[0];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = page << 8 | i;
    out[i] = find_class(c);
    while (*row < num_rows && added[*row].last < c) ++*row;
    if (*row < num_rows && added[*row].first <= c && out[i] == ULY__OTHER)
      out[i] = added[*row].class;
  }
}

/* Makes the table. Pages that are equal follow each other closely (ideographs, planes without
 * characters), so each is compared only with a few before it. */
static void make_table(void) {
  uint16_t(*pages)[256] = malloc(NUM_PAGES * sizeof *pages);
  size_t row = 0;
  int num = 0;
  for (uint32_t page = 0; pages && page < NUM_PAGES; page++) {
    fill_page(page, &row, pages[num]);
    int first = num > 8 ? num - 8 : 0, same = first;
    while (memcmp(pages[same], pages[num], sizeof *pages) != 0) same++;
    table.page_of[page] = (uint16_t)same;
    num += same == num;
  }
  table.pages = pages;
}

const uly__class_table *uly__class_table_get(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, make_table);
  return table.pages ? &table : NULL;
}

/* Punctuation that Unicode has had only since version 9. */
static const struct {
  uint32_t first, last;
} late[] = {
    {0x61d, 0x61d},     {0x9fd, 0x9fd},     {0xa76, 0xa76},     {0xc77, 0xc77},
    {0xc84, 0xc84},     {0x1b4e, 0x1b4f},   {0x1b7d, 0x1b7f},   {0x2e43, 0x2e4f},
    {0x2e52, 0x2e5d},   {0x10d6e, 0x10d6e}, {0x10ead, 0x10ead}, {0x10f55, 0x10f59},
    {0x10f86, 0x10f89}, {0x113d4, 0x113d5}, {0x113d7, 0x113d8}, {0x1144b, 0x1144f},
    {0x1145a, 0x1145b}, {0x1145d, 0x1145d}, {0x11660, 0x1166c}, {0x116b9, 0x116b9},
    {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
    {0x11a9a, 0x11a9c}, {0x11a9e, 0x11aa2}, {0x11b00, 0x11b09}, {0x11be1, 0x11be1},
    {0x11c41, 0x11c45}, {0x11c70, 0x11c71}, {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f},
    {0x11fff, 0x11fff}, {0x12ff1, 0x12ff2}, {0x16d6d, 0x16d6f}, {0x16e97, 0x16e9a},
    {0x16fe2, 0x16fe2}, {0x1e5ff, 0x1e5ff}, {0x1e95e, 0x1e95f},
};

bool uly__is_punctuation(uint32_t c) {
  const uly__class_table *classes = uly__class_table_get();
  if (!classes) return false;
  unsigned class = uly__class_of(classes, c);
  if (c < 0x80) return class & (ULY__PUNCT | ULY__SYMBOL);
  if (c == 0x166d || c == 0x111c9) return true; /* symbols and marks today */
  if (!(class & ULY__PUNCT)) return false;
  for (size_t i = 0; i < sizeof late / sizeof *late; i++)
    if (c >= late[i].first && c <= late[i].last) return false;
  return true;
}

bool uly__is_word_character(uint32_t c) {
  const uly__class_table *classes = uly__class_table_get();
  if (classes && uly__class_of(classes, c) & (ULY__LETTER | ULY__MARK)) return true;
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  if (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
      category == UTF8PROC_CATEGORY_PC)
    return true;
  /* Joiners, and circled letters, which are alphabetic symbols. */
  return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
         (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189);
}
