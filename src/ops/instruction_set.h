/* Names of functions that are compiled once for each instruction set. */
#ifndef ULY_INSTRUCTION_SET_H
#define ULY_INSTRUCTION_SET_H

/* Makes the name of a function for this instruction set (ULY_ISA): uly__x_avx2 and so on. */
#define ULY_PASTE_(name, isa) name##_##isa
#define ULY_PASTE(name, isa) ULY_PASTE_(name, isa)
#define ULY_FOR_ISA(name) ULY_PASTE(name, ULY_ISA)

#endif
