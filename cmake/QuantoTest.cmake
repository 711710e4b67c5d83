# quanto_test(core packing_test.cc): builds cpp/quanto/core/packing_test.cc
# against its layer and registers it with ctest as core.packing_test.
# quanto_test(kernels ref/pack_test.cc) is kernels.ref.pack_test, built by the
# target quanto_kernels_ref_pack_test.
# EACH_ISA registers one run per instruction set of this build instead, with
# QUANTO_FORCE_ISA set and the set in the test's name: kernels.cpu.pack_test.avx2.
# Each run prints the set it uses; one that the CPU lacks counts as skipped.
# kernels.cpu.pack_test.avx512_emulated runs on emulated instructions, in a
# program whose own kernels stand before those of the library.

function(quanto_test layer source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "EACH_ISA" "" "LIBRARIES")
  if(NOT QUANTO_BUILD_TESTS)
    return()
  endif()
  string(REGEX REPLACE "\\.cc$" "" path ${layer}/${source})
  string(REPLACE "/" "." name ${path})
  string(REPLACE "/" "_" target quanto_${path})
  set(file ${PROJECT_SOURCE_DIR}/cpp/quanto/${layer}/${source})
  set(libraries quanto_${layer} quanto_warnings ${arg_LIBRARIES})
  if(NOT arg_EACH_ISA)
    add_executable(${target} ${file})
    target_link_libraries(${target} PRIVATE ${libraries} GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${target})
    return()
  endif()
  add_library(${target}_body OBJECT ${file})
  target_link_libraries(${target}_body PUBLIC ${libraries} GTest::gtest)
  add_executable(
    ${target}
    ${PROJECT_SOURCE_DIR}/cpp/quanto/kernels/cpu/isa_test_main.cc)
  target_link_libraries(${target} PRIVATE ${target}_body)
  foreach(isa IN LISTS QUANTO_ISAS)
    quanto_isa_test(${name}.${isa} ${target} ${isa})
  endforeach()
  if(QUANTO_EMULATED_ISAS)
    add_executable(${target}_emulated)
    target_link_libraries(${target}_emulated PRIVATE quanto_emulated
                                                     ${target}_body)
  endif()
  foreach(isa IN LISTS QUANTO_EMULATED_ISAS)
    quanto_isa_test(${name}.${isa}_emulated ${target}_emulated ${isa})
  endforeach()
endfunction()

function(quanto_isa_test name target isa)
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(
    ${name} PROPERTIES ENVIRONMENT QUANTO_FORCE_ISA=${isa} SKIP_RETURN_CODE 77)
endfunction()
