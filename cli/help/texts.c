/* ulysses help, man, completion: the commands that print the tables of commands and options. */
#include "commands/commands.h"
#include "common/say.h"
#include "options/messages.h"

static uly_status print_help(const options *o) {
  if (o->num_args == 0) {
    help_print_usage(stdout);
    return ULY_OK;
  }
  return help_print(stdout, o->args[0], o->num_args > 1 ? o->args[1] : NULL);
}

static uly_status print_man(const options *o) {
  (void)o;
  man_print(stdout);
  return ULY_OK;
}

static uly_status print_completion(const options *o) {
  (void)o; /* only bash is accepted */
  completion_print_bash(stdout);
  return ULY_OK;
}

/* Runs a command that prints; the message of a failure is in last_failure. */
static int run(command cmd, int argc, char *const *argv, uly_status (*print)(const options *o)) {
  options o;
  uly_status status = options_init(&o);
  if (status == ULY_OK) status = options_parse(&o, cmd, argc, argv);
  status = status == ULY_OK ? print(&o) : uly_fail(status, "%s", o.error);
  if (status != ULY_OK) print_failure(last_failure());
  options_free(&o);
  return uly_status_exit_code(status);
}

int command_help(int argc, char *const *argv) { return run(HELP, argc, argv, print_help); }
int command_man(int argc, char *const *argv) { return run(MAN, argc, argv, print_man); }
int command_completion(int argc, char *const *argv) {
  return run(COMPLETION, argc, argv, print_completion);
}
