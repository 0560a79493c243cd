"""Both bindings against ulysses.h: names and values of enumerators, members of structs with their
offsets and sizes, as compilers lay them out, and what functions take and return.
bindings_match.py ROOT CC [FORTRAN]; exit code 77: there is no Fortran compiler, and Python's half
is as it should be."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile

root, cc = sys.argv[1:3]
fortran = shutil.which(sys.argv[3]) if len(sys.argv) > 3 else None
if fortran and subprocess.run([fortran, "--version"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode:
    fortran = None  # a wrapper of MPI may be there without what it wraps
sys.path.insert(0, os.path.join(root, "bindings/python"))
import ulysses  # noqa: E402

failures = []


def compare(what, expected, got):
    if expected != got:
        failures.append(f"{what}: {got} instead of {expected}")


# -------------------------------------------------------------------------------- the header

with open(os.path.join(root, "include/ulysses.h")) as file:
    text = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", " ", file.read(), flags=re.S | re.M)
enums = {name: re.findall(r"\b(ULY_\w+)", body)
         for body, name in re.findall(r"typedef enum \w+ \{([^}]*)\} (\w+);", text)}


def members_of(name):
    """Returns the names of the members of a struct in C, in order."""
    body = re.search(r"struct " + name + r" \{(.*?)\n?\}", text, re.S).group(1)
    return [re.search(r"\(\*(\w+)\)|(\w+)\s*(?:\[\w+\])?$", part).group(1) or
            re.search(r"(\w+)\s*(?:\[\w+\])?$", part).group(1)
            for statement in body.split(";") if statement.strip()
            for part in ([statement] if "(" in statement else statement.split(","))]


def kind_in_c(declaration):
    """Returns what travels: "address", or the type of a number."""
    if "*" in declaration or "[" in declaration:
        return "address"
    word = re.sub(r"\bconst\b", "", declaration).split()[0]
    return "int" if word in enums else word


def signatures_in_c():
    """Returns {name: (result, [arguments])}; variable arguments are left out."""
    found = {}
    plain = re.sub(r"\(\*(\w+)\)\([^()]*\)", r"*\1", text)  # pointers to functions
    for result, star, name, arguments in re.findall(
            r"\n((?:const )?\w+)(?: (\*)| )(uly_\w+)\(([^()]*)\)(?=;|\n)", plain):
        parts = [part.strip() for part in " ".join(arguments.split()).split(",")]
        found[name] = ("address" if star else kind_in_c(result),
                       [kind_in_c(part) for part in parts if part not in ("void", "...")])
    return found


in_c = signatures_in_c()

# -------------------------------------------------------------------------------- the layouts


def run(command, **named):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **named)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}")
    return done.stdout


def printed(source, suffix, compiler, options, libraries=()):
    """Compiles and runs a program; returns what it prints, as {name: numbers}."""
    with tempfile.TemporaryDirectory() as folder:
        path, program = os.path.join(folder, "layout" + suffix), os.path.join(folder, "layout")
        with open(path, "w") as out:
            out.write(source)
        run([*compiler.split(), *options, path, *libraries, "-o", program], cwd=folder)
        lines = [line.split() for line in run([program]).splitlines()]
    return {line[0].lower(): [int(number) for number in line[1:]] for line in lines}


def layout_in_c(structs, enumerators):
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <ulysses.h>",
             "int main(void) {"]
    for name in structs:
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{member} %zu %zu\\n", offsetof({name}, {member}), '
                  f'sizeof((({name} *)0)->{member}));' for member in members_of(name)]
    lines += [f'printf("{name} %d\\n", (int){name});' for name in enumerators]
    return printed("\n".join(lines + ["}", ""]), ".c", cc, ["-I" + os.path.join(root, "include")])


def layout_in_fortran(structs, enumerators):
    lines = ["program layout", "use ulysses", "implicit none"]
    lines += [f"type({name}), target :: the_{name}" for name in structs]
    for name, members in structs.items():
        lines.append(f"print '(a,1x,i0)', '{name}', c_sizeof(the_{name})")
        lines += [f"print '(a,2(1x,i0))', '{name}.{member}', at(c_loc(the_{name}%{member})) - &\n"
                  f"  at(c_loc(the_{name})), c_sizeof(the_{name}%{member})" for member in members]
    lines += [f"print '(a,1x,i0)', '{name}', {name}" for name in enumerators]
    lines += ["contains", "function at(address)", "type(c_ptr), intent(in) :: address",
              "integer(c_intptr_t) :: at", "at = transfer(address, at)", "end function",
              "end program", ""]
    module = os.path.join(root, "bindings/fortran/ulysses.f90")
    library = os.environ["ULYSSES_LIBRARY"]
    return printed("\n".join(lines), ".f90", fortran, [module],
                   [library, "-Wl,-rpath," + os.path.dirname(library)])


# --------------------------------------------------------------------------------- Python

structs = {name: value for name, value in vars(ulysses).items()
           if isinstance(value, type) and issubclass(value, ctypes.Structure)}
enumerators = {**ulysses.STATUS, **ulysses.DTYPE, **ulysses.MASK_KIND, **ulysses.SPARSE}
expected = layout_in_c(structs, enumerators)
for name, struct in structs.items():
    compare(f"Python: size of {name}", expected[name], [ctypes.sizeof(struct)])
    compare(f"Python: members of {name}", members_of(name), [field[0] for field in struct._fields_])
    for member, *_ in struct._fields_:
        field = getattr(struct, member)
        compare(f"Python: {name}.{member}", expected.get(f"{name}.{member}"),
                [field.offset, field.size])
for name, value in enumerators.items():
    compare(f"Python: {name}", expected[name.lower()], [value])
for name in ("uly_status", "uly_dtype", "uly_mask_kind", "uly_sparse_pattern"):
    missing = set(enums[name]) - set(enumerators)
    compare(f"Python: missing of {name}", set(), missing)
# ctypes has one type for size_t and uint64_t.
SAME = {"size_t": "uint64_t"}
IN_PYTHON = {None: "void", ctypes.c_int: "int", ctypes.c_int64: "int64_t",
             ctypes.c_uint64: "uint64_t", ctypes.c_float: "float", ctypes.c_double: "double"}


def wanted_of(name):
    """Returns the kinds of the result and the arguments of a function of the header."""
    if name not in in_c:
        return "a function of ulysses.h"
    return [SAME.get(kind, kind) for kind in (in_c[name][0], *in_c[name][1])]


for name, (result, arguments) in ulysses.FUNCTIONS.items():
    got = [IN_PYTHON.get(kind, "address") for kind in (result, *arguments)]
    compare(f"Python: {name}", wanted_of(name), got)
num_functions = len(ulysses.FUNCTIONS)
num_structs = len(structs)

# --------------------------------------------------------------------------------- Fortran

if fortran:
    with open(os.path.join(root, "bindings/fortran/ulysses.f90")) as file:
        source = re.sub(r"&\s*\n\s*", "", re.sub(r"![^\n]*", "", file.read()))
    types = {name: re.findall(r"::\s*(\w+)", body) for name, body in
             re.findall(r"type, bind\(c\) :: (uly_\w+)\n(.*?)end type", source, re.S)}
    names = re.findall(r"\b(ULY_\w+) = \d+", source)
    expected = layout_in_c(types, names)
    got = layout_in_fortran(types, names)
    for name, members in types.items():
        compare(f"Fortran: members of {name}", members_of(name), members)
    for name, numbers in expected.items():
        compare(f"Fortran: {name}", numbers, got.get(name))
    for name in ("uly_status", "uly_dtype", "uly_mask_kind", "uly_sparse_pattern", "uly_traffic"):
        missing = set(enums[name]) - set(names) - {"ULY_NUM_TRAFFIC"}
        compare(f"Fortran: missing of {name}", set(), missing)
    IN_FORTRAN = {"integer(c_int)": "int", "integer(c_int64_t)": "int64_t",
                  "integer(c_size_t)": "uint64_t", "real(c_double)": "double",
                  "real(c_float)": "float", "type(c_ptr)": "address",
                  "type(c_funptr)": "address"}
    interfaces = re.findall(
        r"(function|subroutine) (uly_\w+)\(([^)]*)\)\s*bind\(c\)(?: result\((\w+)\))?(.*?)end \1",
        source, re.S)
    for what, name, arguments, result, body in interfaces:
        if name == "uly_local_attention_procedure":
            continue
        kinds = {}
        for declared, attributes, variables in re.findall(
                r"^\s*((?:integer|real|type|character)\([^)]*\))((?:, [^:]*)?) :: (.*)$", body,
                re.M):
            for variable in variables.split(","):
                by_value = ", value" in attributes or variable.strip() == result
                kinds[variable.strip()] = IN_FORTRAN[declared] if by_value else "address"
        got = [kinds[result] if result else "void"]
        got += [kinds[argument.strip()] for argument in arguments.split(",") if argument.strip()]
        compare(f"Fortran: {name}", wanted_of(name), got)
    # Sections 1, 2 and 7 are there whole.
    with open(os.path.join(root, "tests/data/symbols.txt")) as file:
        symbols = set(file.read().split())
    with open(os.path.join(root, "include/ulysses.h")) as file:
        sections = re.split(r"/\* -+ (\d)\. ", file.read())
    for number, section in zip(sections[1::2], sections[2::2]):
        if number in "127":
            code = re.sub(r"/\*.*?\*/", "", "/*" + section, flags=re.S)
            declared = set(re.findall(r"\b(uly_\w+)\(", code))
            missing = declared & symbols - {name for _, name, *_ in interfaces} - {"uly_fail"}
            compare(f"Fortran: missing of section {number}", set(), missing)
    num_functions += len(interfaces)
    num_structs += len(types)

for failure in failures:
    print("FAILED:", failure)
print(f"{num_structs} structs, {num_functions} functions")
if failures:
    sys.exit(1)
if not fortran:
    print("skipped: there is no Fortran compiler; Python's half is as the header says")
    sys.exit(77)
