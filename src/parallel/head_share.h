/* Tensor parallelism divides the query heads of an attention over the ranks along the mesh's tp
 * axis. The shares are contiguous, their sizes differ by at most one, and each includes the
 * key/value heads that its query heads use. So neighbouring shares may have a key/value head in
 * common. Without tensor parallelism, a single share contains all heads.
 *
 * Each share is divided further, into head groups and over the ranks of Ulysses. The smallest share
 * limits how many of these there may be, so that all ranks along tp decide alike. */
#ifndef ULY_HEAD_SHARE_H
#define ULY_HEAD_SHARE_H

#include "comm/mesh.h"
#include "parallel/head_blocks.h"

/* Returns ULY_ERR_CONFIG if there are more ranks along tp than query heads. */
uly_status uly__head_share_check(const uly_mesh *mesh, const uly_attention_desc *desc);

/* Returns the heads of rank `index` along tp. */
uly__head_range uly__head_share(const uly_mesh *mesh, const uly_attention_desc *desc, int index);

/* Returns the number of query heads in the smallest share. */
int uly__head_share_least(const uly_mesh *mesh, const uly_attention_desc *desc);
/* Writes what messages call the query heads of the smallest share, such as "4 query heads". */
void uly__head_share_name(const uly_mesh *mesh, const uly_attention_desc *desc, char text[64]);

#endif
