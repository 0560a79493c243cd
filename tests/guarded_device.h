/* A device whose memory can be touched only inside ops, copies of the device and calls of MPI. Its
 * pages are protected at any other time, so code that reads or writes a tensor where it must not
 * ends the process with SIGSEGV and a message that says where; a system call that is given such
 * memory fails with EFAULT.
 *
 * A program that is linked with guarded_device.c, guarded_ops.c and -Wl,--wrap=uly__ops_get runs on
 * this device. Pages are open for the whole process while one of its threads is inside such a call.
 * So what another thread touches is noticed only when no thread is inside: run with one OpenMP
 * thread, and long enough. Processes on one machine must not read each other's memory, since no
 * call of this process would open the pages: set OMPI_MCA_btl_vader_single_copy_mechanism=none. */
#ifndef GUARDED_DEVICE_H
#define GUARDED_DEVICE_H

#include <stdbool.h>

/* Open the pages of all memory of the device; and protect them again when every thread that opened
 * them has left. */
void guard_enter(void);
void guard_leave(void);

/* Returns whether an address is in the device's memory. */
bool guard_has(const void *address);

#endif
