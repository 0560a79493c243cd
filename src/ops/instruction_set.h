/* Names of functions that are compiled once for each instruction set. */
#ifndef ULY_INSTRUCTION_SET_H
#define ULY_INSTRUCTION_SET_H

#define ULY_PASTE_(name, isa) name##_##isa
#define ULY_PASTE(name, isa) ULY_PASTE_(name, isa)

/* Makes the name of a function for this instruction set: ULY_FOR_ISA(uly__x) is uly__x_avx2 if
 * ULY_ISA is avx2. */
#define ULY_FOR_ISA(name) ULY_PASTE(name, ULY_ISA)

#endif
