/* Tensor parallelism divides the query heads of an attention over the ranks of the mesh's tp axis: in
 * contiguous shares that differ by at most one, each with the key/value heads that it uses.
 * Neighbours may share a key/value head. Without tensor parallelism there is one share, of all
 * heads.
 *
 * Head groups and ranks of Ulysses divide a share. What limits their number is the smallest share,
 * so that all ranks of tp decide alike. */
#ifndef ULY_HEAD_SHARE_H
#define ULY_HEAD_SHARE_H

#include "comm/mesh.h"
#include "parallel/head_blocks.h"

/* Returns ULY_ERR_CONFIG if there are more ranks of tp than query heads. */
uly_status uly__head_share_check(const uly_mesh *mesh, const uly_attention_desc *desc);

/* Returns the heads of rank `index` of tp. */
uly__head_range uly__head_share(const uly_mesh *mesh, const uly_attention_desc *desc, int index);

/* Returns the query heads of the smallest share; and writes how messages call them, as in "4 query
 * heads". */
int uly__head_share_least(const uly_mesh *mesh, const uly_attention_desc *desc);
void uly__head_share_name(const uly_mesh *mesh, const uly_attention_desc *desc, char text[64]);

#endif
