/* Runs gnuplot on a script, and makes the SVG that it writes fit to stand beside others in a
 * page. */
#include "report/report_drawing.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/try.h"
#include "report/report_text.h"

extern char **environ;

/* Files without a name: unlike pipes they cannot fill up while nobody reads. */
typedef struct streams {
  FILE *script, *svg, *errors;
} streams;

static uly_status streams_open(streams *s) {
  *s = (streams){.script = tmpfile(), .svg = tmpfile(), .errors = tmpfile()};
  if (s->script && s->svg && s->errors) return ULY_OK;
  return report_fail(ULY_ERR_IO, "a temporary file for gnuplot cannot be created: %s",
                     strerror(errno));
}

static void streams_close(streams *s) {
  if (s->script) fclose(s->script);
  if (s->svg) fclose(s->svg);
  if (s->errors) fclose(s->errors);
}

/* Starts gnuplot as a program with fixed arguments: there is no shell between, and everything that
 * depends on the runs is in the script. */
static uly_status spawn(const streams *s, pid_t *child) {
  /* -d ignores the settings of the user. */
  char *const args[] = {"gnuplot", "-d", "-", NULL};
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0)
    return report_fail(ULY_ERR_MEMORY, "gnuplot cannot be started: %s", strerror(error));
  posix_spawn_file_actions_adddup2(&actions, fileno(s->script), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(s->svg), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(s->errors), STDERR_FILENO);
  error = posix_spawnp(child, args[0], &actions, NULL, args, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return ULY_OK;
  if (error == ENOENT)
    return report_fail(
        ULY_ERR_INTERNAL,
        "gnuplot, which draws the plots, is not installed: install the package gnuplot-nox");
  return report_fail(ULY_ERR_INTERNAL, "gnuplot cannot be started: %s", strerror(error));
}

static char *read_back(FILE *file) {
  char *text = NULL;
  size_t length = 0;
  FILE *memory = open_memstream(&text, &length);
  if (!memory) return NULL;
  char chunk[4096];
  rewind(file);
  for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;) fwrite(chunk, 1, got, memory);
  if (fclose(memory) == 0) return text;
  free(text);
  return NULL;
}

/* Fails with gnuplot's message, which it prints below a copy of the line in question. */
static uly_status failed(const char *prefix, char *errors) {
  const char *message = "it gave no reason";
  for (char *line = strtok(errors, "\n"); line; line = strtok(NULL, "\n"))
    if (line[strspn(line, " \t^")]) message = line;
  return report_fail(ULY_ERR_INTERNAL, "gnuplot could not draw the plot '%s': %s", prefix, message);
}

/* If the text at c begins the value of an id or a reference to one, returns the number of bytes
 * before the id; otherwise 0. */
static size_t reference_bytes(const char *c) {
  static const char *const before[] = {" id=\"", " id='", "href=\"#", "href='#", "url(#"};
  for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
    size_t length = strlen(before[i]);
    if (strncmp(c, before[i], length) == 0) return length;
  }
  return 0;
}

/* Copies text[length] with "prefix-" before all ids, since they must differ within the page. Text
 * between tags is left as it is. */
static void copy_unique(const char *text, size_t length, const char *prefix, FILE *out) {
  bool is_in_tag = false;
  for (size_t i = 0; i < length;) {
    if (text[i] == '<') is_in_tag = true;
    if (text[i] == '>') is_in_tag = false;
    size_t copied = is_in_tag ? reference_bytes(text + i) : 0;
    if (copied) {
      fwrite(text + i, 1, copied, out);
      fprintf(out, "%s-", prefix);
      i += copied;
    } else {
      fputc(text[i++], out);
    }
  }
}

/* Returns the <svg> element of gnuplot's document, without the title that a browser would show
 * under the mouse; the page's heading names it. */
static char *make_element(const char *document, const char *prefix) {
  static const char tag[] = "<svg", title_end[] = "</desc>";
  const char *svg = strstr(document, tag);
  const char *title = svg ? strstr(svg, "<title>") : NULL;
  const char *rest = title ? strstr(title, title_end) : NULL;
  char *text = NULL;
  size_t length = 0;
  FILE *out = rest ? open_memstream(&text, &length) : NULL;
  if (!out) return NULL;
  svg += strlen(tag);
  rest += strlen(title_end);
  fprintf(out, "%s role=\"img\" aria-labelledby=\"%s-title\"", tag, prefix);
  copy_unique(svg, (size_t)(title - svg), prefix, out);
  copy_unique(rest, strlen(rest), prefix, out);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

/* Runs gnuplot. *ended: how it ended, as waitpid tells. */
static uly_status run(const streams *s, const char *script, size_t length, int *ended) {
  pid_t child = 0;
  if (fwrite(script, 1, length, s->script) != length || fflush(s->script) != 0 ||
      fseek(s->script, 0, SEEK_SET) != 0)
    return report_fail(ULY_ERR_IO, "the script for gnuplot cannot be written: %s", strerror(errno));
  TRY(spawn(s, &child));
  while (waitpid(child, ended, 0) < 0 && errno == EINTR) continue;
  return ULY_OK;
}

/* Makes the element of what gnuplot has written. */
static uly_status take_output(const char *prefix, const char *document, char *errors, int ended,
                              char **svg) {
  if (!document || !errors)
    return report_fail(ULY_ERR_MEMORY, "no memory for the plot '%s'", prefix);
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0 || !strstr(document, "</svg>"))
    return failed(prefix, errors);
  *svg = make_element(document, prefix);
  if (*svg) return ULY_OK;
  return report_fail(ULY_ERR_INTERNAL, "gnuplot's SVG of the plot '%s' cannot be understood",
                     prefix);
}

static uly_status draw(const streams *s, const char *prefix, const char *script, size_t length,
                       char **svg) {
  int ended = 0;
  TRY(run(s, script, length, &ended));
  char *document = read_back(s->svg), *errors = read_back(s->errors);
  uly_status status = take_output(prefix, document, errors, ended, svg);
  free(document);
  free(errors);
  return status;
}

uly_status report_gnuplot(const char *prefix, const char *script, size_t length, char **svg) {
  streams s;
  *svg = NULL;
  uly_status status = streams_open(&s);
  if (status == ULY_OK) status = draw(&s, prefix, script, length, svg);
  streams_close(&s);
  return status;
}
