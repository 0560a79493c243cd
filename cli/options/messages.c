/* Puts messages of the library into the words of the program: members become flags, as the rows of
 * the option table say. */
#include "options/messages.h"

#include <ctype.h>
#include <string.h>

#include "common/say.h"
#include "options/options_table.h"

typedef struct translation {
  char *text; /* [MESSAGE_BUFFER] */
  size_t used;
  option_id latest; /* named last; num_options: none */
} translation;

/* Appends as much of the bytes as there is room for. */
static void put(translation *t, const char *from, size_t length) {
  size_t room = MESSAGE_BUFFER - 1 - t->used;
  if (length > room) length = room;
  memcpy(t->text + t->used, from, length);
  t->used += length;
  t->text[t->used] = '\0';
}

static void put_text(translation *t, const char *text) { put(t, text, strlen(text)); }

/* ------------------------------------------------------------------------- words and quotes */

/* Returns whether the byte belongs to a word; bytes of letters beyond ASCII do. */
static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_' || (c & 0x80); }

/* Returns whether the character joins words to a path, or to the name of a file. */
static bool joins(char c) { return c && strchr("/\\-.~@", c); }

/* Returns the number of bytes of the word that begins here, including dots within it: that of
 * "config.seq_len" for "config.seq_len." */
static size_t word_length(const char *at) {
  size_t length = 0;
  while (is_word(at[length]) || (length > 0 && at[length] == '.' && is_word(at[length + 1])))
    length++;
  return length;
}

/* Returns the number of bytes of the quotation that begins here, including its quotes, or 0 if none
 * does. An apostrophe stands after a letter or, within a quotation, before one. A quotation that
 * was cut off extends to the end. */
static size_t quotation_length(const char *at, char before) {
  if (*at != '"' && (*at != '\'' || is_word(before))) return 0;
  size_t length = 1;
  while (at[length] && (at[length] != *at || (*at == '\'' && is_word(at[length + 1])))) length++;
  return at[length] ? length + 1 : length;
}

/* Returns the number of bytes of the value that begins here: a quotation, or everything up to a
 * blank or the end of a clause. */
static size_t value_length(const char *at) {
  size_t length = quotation_length(at, ' ');
  if (length > 0) return length;
  length = strcspn(at, " ,;:)");
  return length > 0 && at[length - 1] == '.' ? length - 1 : length;
}

/* ------------------------------------------------------------------------- members and values */

/* Returns whether the name is the member or its end: sparse.block for config.sparse.block. */
static bool is_end_of(const char *name, const char *member) {
  size_t length = strlen(name), whole = strlen(member);
  if (length > whole || strcmp(member + whole - length, name) != 0) return false;
  return length == whole || member[whole - length - 1] == '.';
}

/* Returns whether some command stores the option in a member of that name. */
static bool is_member_of(const char *name, option_id id) {
  for (int c = 0; c < NUM_SINGLE_COMMANDS; c++) {
    const char *member = option_table[id].places[c].member;
    if (member && is_end_of(name, member)) return true;
  }
  return false;
}

/* Returns the option that is stored in a member of that name, or num_options if there is none. */
static option_id find_member(const char *word, size_t length) {
  char name[OPTION_BUFFER];
  option_id id = 0;
  if (length >= sizeof name) return num_options;
  snprintf(name, sizeof name, "%.*s", (int)length, word);
  if (!strchr(name, '.')) return num_options;
  while (id < num_options && !is_member_of(name, id)) id++;
  return id;
}

/* Returns whether the constant ends in the word, as ULY_RECOMPUTE_KEEP_ATTENTION does in
 * keep-attention. */
static bool is_constant_of(const char *constant, size_t length, const char *word) {
  size_t count = strlen(word);
  if (count >= length || constant[length - count - 1] != '_') return false;
  const char *end = constant + length - count;
  for (size_t i = 0; i < count; i++)
    if (end[i] != (word[i] == '-' ? '_' : toupper((unsigned char)word[i]))) return false;
  return true;
}

/* Appends a word of the message; for a constant of the library, the word that the option has for
 * it. */
static void put_word(translation *t, option_id id, const char *word, size_t length) {
  bool is_constant = length > 4 && strncmp(word, "ULY_", 4) == 0;
  if (is_constant && id < num_options && option_table[id].kind == KIND_CHOICE) {
    for (const char *const *choice = option_table[id].rules.words; *choice; choice++) {
      if (is_constant_of(word, length, *choice)) {
        put_text(t, *choice);
        return;
      }
    }
  }
  put(t, word, length);
}

/* Appends the flag, and the value if one follows. Returns what comes after. */
static const char *put_option(translation *t, option_id id, const char *after) {
  const option_info *info = &option_table[id];
  char flag[OPTION_BUFFER];
  option_flag(id, flag);
  t->latest = id;
  if (strncmp(after, " = ", 3) != 0) {
    put_text(t, flag);
    return after;
  }
  const char *value = after + 3;
  size_t length = value_length(value);
  if (info->kind == KIND_BOOLEAN || info->kind == KIND_SWITCH) {
    put_text(t, length == 1 && *value == '0' ? "--no-" : "--");
    put_text(t, flag + 2);
    return value + length;
  }
  put_text(t, flag);
  put_text(t, " ");
  if (info->prefix) put_text(t, info->prefix);
  if (info->rules.unset && length == 2 && strncmp(value, "-1", 2) == 0)
    put_text(t, info->rules.unset);
  else
    put_word(t, id, value, length);
  return value + length;
}

void message_translate(const char *message, char text[MESSAGE_BUFFER]) {
  translation t = {.text = text, .latest = num_options};
  text[0] = '\0';
  char before = ' ';
  for (const char *at = message, *next; *at; at = next) {
    size_t quoted = quotation_length(at, before), length = word_length(at);
    next = at + (quoted ? quoted : length ? length : 1);
    bool is_path = joins(before) || (joins(*next) && is_word(next[1]));
    option_id id = quoted || is_path ? num_options : find_member(at, length);
    if (id < num_options)
      next = put_option(&t, id, next);
    else if (quoted)
      put(&t, at, quoted);
    else
      put_word(&t, t.latest, at, (size_t)(next - at));
    before = next[-1];
  }
}

/* ----------------------------------------------------------------------- failures and warnings */

const char *last_failure(void) {
  static _Thread_local char text[MESSAGE_BUFFER];
  message_translate(uly_last_error(), text);
  return text;
}

void print_last_failure(void) { print_failure(last_failure()); }

static void print_warning(void *user, const char *message) {
  (void)user;
  char text[MESSAGE_BUFFER];
  message_translate(message, text);
  print_message("warning: %s", text);
}

static void drop_warning(void *user, const char *message) {
  (void)user;
  (void)message;
}

void messages_pause(void) { uly_warning_set_handler(drop_warning, NULL); }

void messages_begin(void) { uly_warning_set_handler(print_warning, NULL); }
