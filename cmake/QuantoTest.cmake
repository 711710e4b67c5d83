# quanto_test(core packing_test.cc): builds cpp/quanto/core/packing_test.cc
# against its layer and registers it with ctest as core.packing_test.
# quanto_test(kernels ref/pack_test.cc) is kernels.ref.pack_test, built by the
# target quanto_kernels_ref_pack_test.
# EACH_ISA registers one run per instruction set of this build instead, with
# QUANTO_FORCE_ISA set and the set in the test's name: kernels.cpu.pack_test.avx2.
# Each run prints the set it uses; one that the CPU lacks counts as skipped.

function(quanto_test layer source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "EACH_ISA" "" "LIBRARIES")
  if(NOT QUANTO_BUILD_TESTS)
    return()
  endif()
  string(REGEX REPLACE "\\.cc$" "" path ${layer}/${source})
  string(REPLACE "/" "." name ${path})
  string(REPLACE "/" "_" target quanto_${path})
  add_executable(${target} ${PROJECT_SOURCE_DIR}/cpp/quanto/${layer}/${source})
  target_link_libraries(${target} PRIVATE quanto_${layer} quanto_warnings
                                          ${arg_LIBRARIES})
  if(arg_EACH_ISA)
    target_sources(
      ${target}
      PRIVATE ${PROJECT_SOURCE_DIR}/cpp/quanto/kernels/cpu/isa_test_main.cc)
    target_link_libraries(${target} PRIVATE GTest::gtest)
    foreach(isa IN LISTS QUANTO_ISAS)
      add_test(NAME ${name}.${isa} COMMAND ${target})
      set_tests_properties(
        ${name}.${isa} PROPERTIES ENVIRONMENT QUANTO_FORCE_ISA=${isa}
                                  SKIP_RETURN_CODE 77)
    endforeach()
  else()
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${target})
  endif()
endfunction()
