# The bindings for Python and Fortran. What a test needs may be missing: it says so, and is skipped. A library with
# sanitizers cannot be loaded by a program without.
if(ULY_SANITIZE)
  return()
endif()

# uly_binding_test(name timeout COMMAND...)
function(uly_binding_test name timeout)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS script TIMEOUT ${timeout} PROCESSORS 2
    SKIP_RETURN_CODE 77 ENVIRONMENT
    "${ULY_TEST_ENV};ULYSSES_LIBRARY=$<TARGET_FILE:ulysses-shared>;PYTHONDONTWRITEBYTECODE=1")
endfunction()

if(NOT ULY_PYTHON)
  uly_binding_test(bindings 10 sh -c "echo 'skipped: there is no python3'; exit 77")
  return()
endif()
uly_binding_test(bindings_match 120 ${ULY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/bindings_match.py
  ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER} ${ULY_MPIFORT})
foreach(part numpy mpi4py torch)
  foreach(n 1 2 3)
    uly_binding_test(bindings_${part}_${n} 300 ${ULY_MPIRUN} -n ${n} ${ULY_PYTHON}
      ${CMAKE_CURRENT_SOURCE_DIR}/bindings_values.py ${part})
  endforeach()
endforeach()
uly_binding_test(bindings_transformers 600 ${CMAKE_CURRENT_SOURCE_DIR}/bindings_transformers.sh
  ${ULY_PYTHON} ${ULY_MPIRUN})
