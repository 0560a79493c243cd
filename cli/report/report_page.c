/* Writes the page of a report: one HTML file that needs no other. Text from files goes through
 * report_put_html. */
#include "report/report_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/try.h"
#include "report/report_plots.h"
#include "report/report_run.h"
#include "report/report_text.h"

/* The page loads nothing and runs nothing, whatever a file may hold. */
static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

static const char style[] =
    "<style>\n"
    ":root { color-scheme: light dark; --page: #ffffff; --ink: #1d2430; --soft: #5d6775; --line: "
    "#dde1e7;"
    " --panel: #f7f8fa; --mark: #fff1cc; }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e4e7ec; --soft: "
    "#a0a9b6;"
    " --line: #333a45; --panel: #1b1f26; --mark: #4a3c12; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--page);"
    " color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }\n"
    "h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 0; }\n"
    "p { margin: .3rem 0; } .about, .needs, footer { color: var(--soft); font-size: .9rem; }\n"
    ".wide { overflow-x: auto; }\n"
    "table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }\n"
    "th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;"
    " vertical-align: top; }\n"
    ".runs th, .runs td { white-space: nowrap; max-width: 15rem; overflow: hidden;"
    " text-overflow: ellipsis; }\n"
    ".settings th, .settings td { overflow-wrap: anywhere; min-width: 9rem; }\n"
    "tr > :first-child { padding-left: .4rem; }\n"
    "thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }\n"
    "td.number, th.number { text-align: right; white-space: nowrap; }\n"
    "tr.differs td, tr.differs th { background: var(--mark); }\n"
    "figure { margin: 1.6rem 0; padding: 1rem 1.2rem; background: var(--panel); border: 1px solid "
    "var(--line); border-radius: .5rem; }\n"
    "figure svg { display: block; width: 100%; min-width: 40rem; height: auto; margin-top: .4rem; "
    "}\n"
    "figure svg text { fill: var(--ink); font-family: system-ui, sans-serif; }\n"
    ".legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0 0; padding: 0;"
    " list-style: none; font-size: .9rem; }\n"
    ".key { display: inline-block; width: 1.4rem; margin-right: .4rem; vertical-align: middle;"
    " border-top: .25rem solid; }\n"
    ".dash1 { border-top-style: dashed; } .dash2 { border-top-style: dotted; }\n"
    ".part { height: .8rem; width: .8rem; border-top-width: .8rem; }\n"
    "nav a { margin-right: 1rem; color: inherit; } code { overflow-wrap: anywhere; }\n"
    "</style>\n";

static void put_name(FILE *html, const report_run *run) {
  fputs("<b>", html);
  report_put_html(html, run->name);
  fputs("</b>", html);
}

static void put_key(FILE *html, int i, bool is_part) {
  fprintf(html, "<span class=\"key %s\" style=\"border-top-color:#%06x\"></span>",
          is_part               ? "part"
          : report_dash(i) == 0 ? "dash0"
          : report_dash(i) == 1 ? "dash1"
                                : "dash2",
          report_color(i));
}

/* ------------------------------------------------------------------ the runs */

static void put_ranks(FILE *html, const report_run *run) {
  if (run->num_ranks > 0)
    report_put_count(html, (double)run->num_ranks);
  else
    fputs("–", html);
}

static void put_steps(FILE *html, const report_run *run) {
  report_put_count(html, (double)run->num_steps);
  if (run->num_steps == run->last_step) return;
  fputs(" (", html);
  report_put_count(html, (double)run->first_step);
  fputs(" to ", html);
  report_put_count(html, (double)run->last_step);
  fputs(")", html);
}

static void put_loss(FILE *html, double loss, int64_t step, bool with_step) {
  if (step == 0) {
    fputs("–", html);
    return;
  }
  fprintf(html, "%.4f", loss);
  if (!with_step) return;
  fputs(" (step ", html);
  report_put_count(html, (double)step);
  fputs(")", html);
}

static void put_run(FILE *html, const report_run *run, int i) {
  const char *model = report_config_get(&run->config, "model");
  fputs("<tr><th scope=\"row\" title=\"", html);
  report_put_html(html, run->path);
  fputs("\">", html);
  put_key(html, i, false);
  report_put_html(html, run->name);
  fputs("</th><td>", html);
  report_put_html(html, model ? model : "–");
  fputs("</td><td class=\"number\">", html);
  put_ranks(html, run);
  fputs("</td><td class=\"number\">", html);
  put_steps(html, run);
  fputs("</td><td class=\"number\">", html);
  report_put_count(html, run->tokens);
  fputs("</td><td class=\"number\">", html);
  put_loss(html, run->final_loss, run->final_step, run->final_step != run->last_step);
  fputs("</td><td class=\"number\">", html);
  put_loss(html, run->best_eval_loss, run->best_eval_step, true);
  fputs("</td><td class=\"number\">", html);
  if (run->timed_seconds > 0)
    report_put_count(html, run->timed_tokens / run->timed_seconds);
  else
    fputs("–", html);
  fputs("</td><td class=\"number\">", html);
  report_put_duration(html, run->seconds);
  fputs("</td></tr>\n", html);
}

/* Writes a note. count 1 takes the text for one, 0 the same without a number. */
static void put_note(FILE *html, const report_run *run, double count, const char *one,
                     const char *many) {
  fputs("<li>", html);
  put_name(html, run);
  fputs(": ", html);
  if (count > 0) {
    report_put_count(html, count);
    fputc(' ', html);
  }
  report_put_html(html, count > 1 ? many : one);
  fputs("</li>\n", html);
}

/* Writes notes about the files of a run that matter for the plots. */
static void put_notes(FILE *html, const report_run *run) {
  if (run->is_cut)
    put_note(html, run, 0, "the last line of the metrics is incomplete, and is left out", NULL);
  if (run->num_repeated > 0)
    put_note(html, run, (double)run->num_repeated,
             "line is left out: the run was resumed, and did its step again",
             "lines are left out: the run was resumed, and did their steps again");
  if (run->has_other_ranks)
    put_note(html, run, 0, "earlier steps ran on a different number of ranks than the last", NULL);
  if (run->num_skipped > 0)
    put_note(html, run, (double)run->num_skipped, "step was skipped: it left the weights alone",
             "steps were skipped: they left the weights alone");
  if (run->num_not_finite > 0)
    put_note(html, run, (double)run->num_not_finite, "step has no finite loss",
             "steps have no finite loss");
  if (run->config.problem[0]) {
    char text[600];
    snprintf(text, sizeof text, "config.yaml cannot be read: %s", run->config.problem);
    put_note(html, run, 0, text, NULL);
  }
  if (run->num_checkpoints > 0) {
    char one[64], many[64];
    snprintf(one, sizeof one, "checkpoint, of step %lld", (long long)run->newest_checkpoint);
    snprintf(many, sizeof many, "checkpoints, the newest of step %lld",
             (long long)run->newest_checkpoint);
    put_note(html, run, run->num_checkpoints, one, many);
  }
}

static void put_runs(FILE *html, const report_set *set) {
  fputs(
      "<section id=\"runs\">\n<h1>Training report</h1>\n<div "
      "class=\"wide\"><table class=\"runs\">\n<thead><tr><th>Run</th>"
      "<th>Model</th><th class=\"number\">Ranks</th><th class=\"number\">Steps</th>"
      "<th class=\"number\">Tokens</th><th class=\"number\">Final loss</th>"
      "<th class=\"number\">Best evaluation</th><th class=\"number\">Tokens/s</th>"
      "<th class=\"number\">Time in steps</th></tr></thead>\n<tbody>\n",
      html);
  for (int i = 0; i < set->num_runs; i++) put_run(html, set->runs[i], i);
  fputs("</tbody></table></div>\n<ul class=\"about\">\n", html);
  for (int i = 0; i < set->num_runs; i++) put_notes(html, set->runs[i]);
  fputs("</ul>\n</section>\n", html);
}

/* ------------------------------------------------------------------ the plots */

static bool is_part_used(const report_set *set, report_kind kind, int part) {
  for (int i = 0; i < set->num_runs; i++)
    if (set->runs[i]->bytes[kind].parts[part] > 0) return true;
  return false;
}

static void put_legend(FILE *html, const report_plot *plot, const report_set *set) {
  bool is_runs = plot->legend == LEGEND_RUNS;
  int num = is_runs ? set->num_runs : report_num_parts(plot->kind);
  fputs("<ul class=\"legend\">\n", html);
  for (int i = 0; i < num; i++) {
    bool is_used = is_runs ? plot->has(plot, set->runs[i]) : is_part_used(set, plot->kind, i);
    if (!is_used) continue;
    fputs("<li>", html);
    put_key(html, i, !is_runs);
    report_put_html(html, is_runs ? set->runs[i]->name : report_part_name(plot->kind, i));
    fputs("</li>\n", html);
  }
  fputs("</ul>\n", html);
}

/* Names the runs for which the plot has no data; returns how many it has data for. */
static int put_lacking(FILE *html, const report_plot *plot, const report_set *set) {
  int num_there = 0;
  for (int i = 0; i < set->num_runs; i++) num_there += plot->has(plot, set->runs[i]);
  if (num_there == set->num_runs) return num_there;
  fputs(num_there == 0 ? "<p class=\"needs\">Nothing to show" : "<p class=\"needs\">Without ",
        html);
  const char *between = "";
  for (int i = 0; i < set->num_runs && num_there > 0; i++) {
    if (plot->has(plot, set->runs[i])) continue;
    fputs(between, html);
    put_name(html, set->runs[i]);
    between = ", ";
  }
  fprintf(html, ": this needs metrics with %s.</p>\n", plot->needs);
  return num_there;
}

/* Returns whether the page has the plot. */
static bool is_shown(const report_plot *plot, const report_set *set) {
  bool has_data = !plot->is_optional;
  for (int i = 0; i < set->num_runs; i++) has_data |= plot->has(plot, set->runs[i]);
  return has_data;
}

static uly_status put_figure(FILE *html, const report_plot *plot, const report_set *set) {
  if (!is_shown(plot, set)) return ULY_OK;
  fprintf(html,
          "<figure id=\"%s\">\n<figcaption>\n<h2 id=\"%s-title\">%s</h2>\n<p class=\"finding\">",
          plot->id, plot->id, plot->title);
  plot->write_finding(plot, set, html);
  fprintf(html, "</p>\n<p class=\"about\">%s</p>\n", plot->about);
  bool is_empty = put_lacking(html, plot, set) == 0;
  fputs("</figcaption>\n", html);
  if (!is_empty) {
    char *svg;
    TRY(report_plot_draw(plot, set, &svg));
    put_legend(html, plot, set);
    fprintf(html, "<div class=\"wide\">\n%s</div>\n", svg);
    free(svg);
  }
  fputs("</figure>\n", html);
  return ULY_OK;
}

/* ------------------------------------------------------------------ the configuration */

/* Returns the value of a key of exactly this name, or NULL if there is none. */
static const char *find_setting(const report_config *config, const char *key) {
  for (int i = 0; i < config->num; i++)
    if (strcmp(config->settings[i].key, key) == 0) return config->settings[i].value;
  return NULL;
}

/* Writes one key, for runs that have a configuration. */
static void put_setting(FILE *html, const report_set *set, const char *key) {
  const char *first = find_setting(&set->runs[0]->config, key);
  bool differs = false;
  for (int i = 1; i < set->num_runs; i++) {
    const char *value = find_setting(&set->runs[i]->config, key);
    differs |= !first != !value || (first && strcmp(first, value) != 0);
  }
  fputs(differs ? "<tr class=\"differs\"><th scope=\"row\">" : "<tr><th scope=\"row\">", html);
  report_put_html(html, key);
  if (differs) fputs(" <abbr title=\"differs between the runs\">≠</abbr>", html);
  fputs("</th>", html);
  for (int i = 0; i < set->num_runs; i++) {
    const char *value = find_setting(&set->runs[i]->config, key);
    fputs("<td>", html);
    report_put_html(html, value ? value : "–");
    fputs("</td>", html);
  }
  fputs("</tr>\n", html);
}

/* Writes each key once, where the first run that has it lists it. */
static void put_settings(FILE *html, const report_set *set) {
  for (int i = 0; i < set->num_runs; i++) {
    const report_config *config = &set->runs[i]->config;
    for (int j = 0; j < config->num; j++) {
      const char *key = config->settings[j].key;
      bool is_new = find_setting(config, key) == config->settings[j].value;
      for (int before = 0; before < i && is_new; before++)
        is_new = !find_setting(&set->runs[before]->config, key);
      if (is_new) put_setting(html, set, key);
    }
  }
}

static void put_configuration(FILE *html, const report_set *all) {
  report_run *runs[REPORT_MAX_RUNS];
  report_set set = {.num_runs = 0, .runs = runs};
  for (int i = 0; i < all->num_runs; i++)
    if (all->runs[i]->config.num > 0) runs[set.num_runs++] = all->runs[i];
  fputs("<section id=\"configuration\">\n<h2>Configuration</h2>\n", html);
  if (set.num_runs < all->num_runs)
    fprintf(html, "<p class=\"needs\">%s has a <code>config.yaml</code> in its folder.</p>\n",
            set.num_runs == 0 ? "Nothing to show: no run" : "Not every run");
  if (set.num_runs > 1) fputs("<p class=\"about\">≠: differs between the runs.</p>\n", html);
  if (set.num_runs > 0) {
    fputs("<div class=\"wide\"><table class=\"settings\">\n<thead><tr><th>Option</th>", html);
    for (int i = 0; i < set.num_runs; i++) {
      fputs("<th>", html);
      report_put_html(html, runs[i]->name);
      fputs("</th>", html);
    }
    fputs("</tr></thead>\n<tbody>\n", html);
    put_settings(html, &set);
    fputs("</tbody></table></div>\n", html);
  }
  fputs("</section>\n", html);
}

uly_status report_page_write(const report_set *set, FILE *html) {
  fputs(head, html);
  fputs("<title>Training report: ", html);
  for (int i = 0; i < set->num_runs; i++) {
    if (i > 0) fputs(", ", html);
    report_put_html(html, set->runs[i]->name);
  }
  fprintf(html, "</title>\n%s</head>\n<body>\n", style);
  put_runs(html, set);
  fputs("<nav>", html);
  for (int i = 0; i < report_num_plots; i++)
    if (is_shown(&report_plots[i], set))
      fprintf(html, "<a href=\"#%s\">%s</a> ", report_plots[i].id, report_plots[i].title);
  fputs("<a href=\"#configuration\">Configuration</a></nav>\n", html);
  for (int i = 0; i < report_num_plots; i++) TRY(put_figure(html, &report_plots[i], set));
  put_configuration(html, set);
  fputs("<footer>Made by ulysses " ULY_VERSION_STRING ".</footer>\n</body>\n</html>\n", html);
  return ULY_OK;
}
