/* Puts messages of the library into the words of the program. The library names a setting by its
 * member, config.seq_len; users of the program know it as --seq-len. */
#ifndef ULYSSES_CLI_MESSAGES_H
#define ULYSSES_CLI_MESSAGES_H

enum { MESSAGE_BUFFER = 4096 };

/* Writes the message with the flags of the option table in place of the members that its rows name.
 * After a member, " = VALUE" becomes the value as the flag takes it:
 *
 *   config.seq_len             --seq-len
 *   config.zero_stage = 3      --zero 3
 *   config.stash = DIR         --stash disk:DIR
 *   config.dtype = ULY_BF16    --dtype bf16
 *   config.pack = 0            --no-pack
 *   prepare.out                --out: the option of this name that `ulysses prepare` knows
 *
 * Words in quotes, in a path or within a longer word stay as they are, since they are not the
 * library's. */
void message_translate(const char *message, char text[MESSAGE_BUFFER]);

/* Returns uly_last_error() in the words of the program. It is valid until the next call. */
const char *last_failure(void);

/* Prints last_failure() as an error, from the first process. */
void print_last_failure(void);

/* Prints the warnings of the library from now on, in the words of the program. */
void messages_begin(void);
/* Drops them, until the next messages_begin: another rank prints the same ones. */
void messages_pause(void);

#endif
