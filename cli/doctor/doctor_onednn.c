/* Finds out which oneDNN the program runs with. */
#include <dnnl.h>

#include "doctor/doctor.h"

void doctor_onednn_version(char text[DOCTOR_TEXT]) {
  const dnnl_version_t *version = dnnl_version();
  snprintf(text, DOCTOR_TEXT, "%d.%d.%d", version->major, version->minor, version->patch);
}
