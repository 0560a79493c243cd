/* Divides heads over the ranks of tensor parallelism: see head_share.h. */
#include "parallel/head_share.h"

#include <stdio.h>

static int num_shares(const uly_mesh *mesh) { return uly__mesh_extent(mesh, ULY_AXIS_TP); }

uly_status uly__head_share_check(const uly_mesh *mesh, const uly_attention_desc *desc) {
  int num = num_shares(mesh);
  if (num > 1 && num > desc->num_q_heads)
    ULY_FAIL(ULY_ERR_CONFIG,
             "mesh.tp is %d, but there are only %d query heads to divide: use mesh.tp = %d or less",
             num, desc->num_q_heads, desc->num_q_heads);
  return ULY_OK;
}

uly__head_range uly__head_share(const uly_mesh *mesh, const uly_attention_desc *desc, int index) {
  uly__head_range all = {0, desc->num_q_heads, 0, desc->num_kv_heads};
  return uly__head_range_part(all, desc->num_q_heads / desc->num_kv_heads, num_shares(mesh), index);
}

int uly__head_share_least(const uly_mesh *mesh, const uly_attention_desc *desc) {
  return desc->num_q_heads / num_shares(mesh);
}

void uly__head_share_name(const uly_mesh *mesh, const uly_attention_desc *desc, char text[64]) {
  int least = uly__head_share_least(mesh, desc), num = num_shares(mesh);
  if (num == 1)
    snprintf(text, 64, "%d query heads", least);
  else
    snprintf(text, 64, "%d query heads for each rank of mesh.tp = %d", least, num);
}
