/* Prints the messages on standard input, one per line, in the words of the program, for
 * check_messages.sh. */
#include <stdio.h>
#include <string.h>

#include "../cli/options/messages.h"

int main(void) {
  char line[MESSAGE_BUFFER], text[MESSAGE_BUFFER];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    message_translate(line, text);
    puts(text);
  }
  return 0;
}
