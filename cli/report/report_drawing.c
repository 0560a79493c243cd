/* Draws plots. gnuplot gets everything in its script: it reads no file, and no text from outside
 * except the names of runs beside bars, as constants (report_put_gnuplot). */
#include "report/report_drawing.h"

#include <math.h>
#include <stdlib.h>

#include "report/report_text.h"

/* Colors that can be told apart on white and on black, also without seeing red or green. */
static const unsigned colors[] = {0x3778c8, 0xd95f1e, 0x2a9a6e, 0xa65fc0,
                                  0xc7930a, 0x1799b5, 0xcf4a76, 0x848b95};
enum { NUM_COLORS = sizeof colors / sizeof colors[0] };

unsigned report_color(int i) { return colors[i % NUM_COLORS]; }
int report_dash(int i) { return i / NUM_COLORS; }

void report_put_size(int height, FILE *script) {
  fprintf(script, "set terminal svg size 900,%d dynamic noenhanced rounded font 'sans-serif,14'\n",
          height);
}

void report_put_y_range(double low, double high, bool from_zero, FILE *script) {
  double largest = fmax(fabs(low), fabs(high));
  double room = fmax((high - low) * 0.05, 1e-6 * largest); /* gnuplot treats less as nothing */
  if (high == low) room = high == 0 ? 1 : largest * 0.05;
  fprintf(script, "set yrange [%.9g:%.9g]\n", from_zero && low >= 0 ? 0 : low - room, high + room);
}

/* Writes the style. Text takes its color from the page (report_page.c), not from here. */
static void put_style(FILE *script) {
  report_put_size(360, script);
  fputs(
      "set encoding utf8\n"
      "unset key\n"
      "set border 1 linecolor rgb '#888888'\n"
      "set tics nomirror scale 0\n"
      "set grid ytics linetype 1 linewidth 0.6 linecolor rgb '#a0888888'\n"
      "set rmargin 3\n",
      script);
}

uly_status report_plot_draw(const report_plot *plot, const report_set *set, char **svg) {
  char *script = NULL;
  size_t length = 0;
  *svg = NULL;
  FILE *file = open_memstream(&script, &length);
  if (file) {
    put_style(file);
    plot->write_script(plot, set, file);
  }
  uly_status status;
  if (!file || fclose(file) != 0)
    status = report_fail(ULY_ERR_MEMORY, "no memory for the plot '%s'", plot->id);
  else
    status = report_gnuplot(plot->id, script, length, svg);
  free(script);
  return status;
}
