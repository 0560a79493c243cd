# The library as programs link it: libulysses.so, libulysses.a, ulysses.h, and what pkg-config and
# find_package(ulysses CONFIG) read. Only names that ulysses.h declares are visible in either library.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# ---- shared: the interface's number is in the soname and in the version of every symbol.
set(ULY_SOVERSION 1)
set(ULY_SYMBOLS ${CMAKE_CURRENT_LIST_DIR}/ulysses.map)
add_library(ulysses-shared SHARED ${ULY_OBJECTS})
target_link_libraries(ulysses-shared PRIVATE uly_needs uly_flags)
target_link_options(ulysses-shared PRIVATE -Wl,--version-script=${ULY_SYMBOLS})
if(NOT ULY_SANITIZE) # a sanitizer's functions are the program's
  target_link_options(ulysses-shared PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(ulysses-shared PROPERTIES OUTPUT_NAME ulysses EXPORT_NAME ulysses
  VERSION ${PROJECT_VERSION} SOVERSION ${ULY_SOVERSION} LINK_DEPENDS ${ULY_SYMBOLS})

# ---- static: one object, in which internal names have become local, so that they cannot clash with
# a program's.
set(ULY_ONE_OBJECT ${CMAKE_CURRENT_BINARY_DIR}/ulysses.o)
add_custom_command(OUTPUT ${ULY_ONE_OBJECT}
  COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -Wl,--force-group-allocation -o ${ULY_ONE_OBJECT} ${ULY_OBJECTS}
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden --wildcard --localize-symbol=_Z* --localize-symbol=DW.ref.*
    ${ULY_ONE_OBJECT}
  DEPENDS ${ULY_OBJECTS} COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties(${ULY_ONE_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(ulysses-static STATIC ${ULY_ONE_OBJECT})
set_target_properties(ulysses-static PROPERTIES OUTPUT_NAME ulysses EXPORT_NAME static
  LINKER_LANGUAGE C)

# What the static library needs: pkg-config modules besides MPI's (not libxxhash: its functions are inlined), libraries.
set(ULY_MODULES jansson libpcre2-8 libutf8proc)
set(ULY_LIBRARIES stdc++ m)
set(ULY_LINK_FOLDERS)
foreach(library ${DNNL_LIBRARY} ${SENTENCEPIECE_LIBRARY} ${OpenMP_C_LIBRARIES})
  get_filename_component(folder ${library} DIRECTORY)
  get_filename_component(name ${library} NAME_WE)
  string(REGEX REPLACE "^lib" "" name ${name})
  list(PREPEND ULY_LIBRARIES ${name})
  if(NOT folder IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    list(APPEND ULY_LINK_FOLDERS ${folder})
  endif()
endforeach()
list(REMOVE_DUPLICATES ULY_LINK_FOLDERS)
target_link_libraries(ulysses-static INTERFACE $<BUILD_INTERFACE:uly_needs>
  "$<INSTALL_INTERFACE:PkgConfig::ULYSSES_MPI;PkgConfig::ULYSSES_MODULES;${ULY_LIBRARIES}>")
target_link_directories(ulysses-static INTERFACE "$<INSTALL_INTERFACE:${ULY_LINK_FOLDERS}>")

foreach(target ulysses-shared ulysses-static)
  target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

# Where MPI is passed on, it is the C one: in C++ mpi.h would also need a library of its C++
# bindings.
set(ULY_MPI_DEFINITIONS OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)

# The names of the installed package, for examples/.
add_library(ulysses::ulysses ALIAS ulysses-shared)
add_library(ulysses::static ALIAS ulysses-static)
add_library(ulysses::mpi ALIAS PkgConfig::MPI)

# ---- pkg-config. Paths are relative to the file: the installed tree may be moved.
list(TRANSFORM ULY_LINK_FOLDERS PREPEND -L OUTPUT_VARIABLE folders)
list(TRANSFORM ULY_LIBRARIES PREPEND -l OUTPUT_VARIABLE libraries)
list(TRANSFORM ULY_MPI_DEFINITIONS PREPEND -D OUTPUT_VARIABLE definitions)
list(JOIN folders " " folders)
list(JOIN libraries " " libraries)
string(STRIP "${folders} ${libraries}" ULY_PC_LIBRARIES)
list(JOIN ULY_MODULES " " ULY_PC_MODULES)
list(JOIN definitions " " ULY_PC_DEFINITIONS)
file(RELATIVE_PATH ULY_PC_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  ${CMAKE_INSTALL_FULL_INCLUDEDIR})
file(RELATIVE_PATH ULY_PC_DATA ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  ${CMAKE_INSTALL_FULL_DATADIR}/ulysses)
foreach(module ulysses ulysses-shared)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${module}.pc.in ${module}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${module}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

# ---- the CMake package.
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/ulysses)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ulysses-config.cmake.in
  ulysses-config.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(ulysses-config-version.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS ulysses-shared EXPORT ulysses-targets)
install(TARGETS ulysses-static EXPORT ulysses-static-targets)
install(EXPORT ulysses-targets NAMESPACE ulysses:: DESTINATION ${package})
install(EXPORT ulysses-static-targets NAMESPACE ulysses:: DESTINATION ${package})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ulysses-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/ulysses-config-version.cmake DESTINATION ${package})
install(FILES ${PROJECT_SOURCE_DIR}/include/ulysses.h TYPE INCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE TYPE DOC)

# ---- bindings: one file each. Python's looks for the library from its own place; the user compiles
# Fortran's, since each compiler has module files of its own.
install(FILES ${PROJECT_SOURCE_DIR}/bindings/python/ulysses.py
  DESTINATION ${CMAKE_INSTALL_DATADIR}/ulysses/python)
install(FILES ${PROJECT_SOURCE_DIR}/bindings/fortran/ulysses.f90
  DESTINATION ${CMAKE_INSTALL_DATADIR}/ulysses/fortran)
