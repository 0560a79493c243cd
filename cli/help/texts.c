/* ulysses help, man, completion: the commands that print what the tables say. */
#include "help/help.h"
#include "options/run_command.h"

static uly_status print_help(options *o) {
  if (o->num_args > 0) return help_print(stdout, o->args[0], o->num_args > 1 ? o->args[1] : NULL);
  help_print_usage(stdout);
  return ULY_OK;
}

static uly_status print_man(options *o) {
  (void)o;
  man_print(stdout);
  return ULY_OK;
}

static uly_status print_completion(options *o) {
  (void)o; /* only bash is accepted */
  completion_print_bash(stdout);
  return ULY_OK;
}

int command_help(int argc, char *const *argv) {
  options o;
  return run_alone(&o, HELP, argc, argv, print_help);
}

int command_man(int argc, char *const *argv) {
  options o;
  return run_alone(&o, MAN, argc, argv, print_man);
}

int command_completion(int argc, char *const *argv) {
  options o;
  return run_alone(&o, COMPLETION, argc, argv, print_completion);
}
