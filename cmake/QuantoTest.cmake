# quanto_test(core packing_test.cc): builds cpp/quanto/core/packing_test.cc
# against its layer and registers it with ctest as core.packing_test.
# quanto_test(kernels ref/pack_test.cc) is kernels.ref.pack_test, built by the
# target quanto_kernels_ref_pack_test.
# ISAS registers one run per instruction set that it names and this build has
# instead, with QUANTO_FORCE_ISA set and the set in the test's name:
# kernels.cpu.pack_test.avx2. Each run prints the set it uses; one that the CPU
# lacks counts as skipped. kernels.cpu.pack_test.avx512_emulated runs on emulated
# instructions, in a program whose own kernels stand before those of the library;
# NOT_EMULATED names sets for which that would repeat another's run.

function(quanto_test layer source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "ISAS;NOT_EMULATED;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "quanto_test(${layer} ${source}): expected known "
                        "arguments, got ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT QUANTO_BUILD_TESTS)
    return()
  endif()
  string(REGEX REPLACE "\\.cc$" "" path ${layer}/${source})
  string(REPLACE "/" "." name ${path})
  string(REPLACE "/" "_" target quanto_${path})
  set(file ${PROJECT_SOURCE_DIR}/cpp/quanto/${layer}/${source})
  set(libraries quanto_${layer} quanto_warnings ${arg_LIBRARIES})
  if(NOT arg_ISAS)
    add_executable(${target} ${file})
    target_link_libraries(${target} PRIVATE ${libraries} GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${target})
    return()
  endif()
  add_library(${target}_body OBJECT ${file})
  target_link_libraries(${target}_body PUBLIC ${libraries} GTest::gtest)
  if(NOT TARGET quanto_isa_test_main)
    add_library(
      quanto_isa_test_main OBJECT
      ${PROJECT_SOURCE_DIR}/cpp/quanto/kernels/cpu/isa_test_main.cc)
    target_link_libraries(quanto_isa_test_main
                          PRIVATE quanto_kernels quanto_warnings GTest::gtest)
  endif()
  add_executable(${target})
  target_link_libraries(${target} PRIVATE quanto_isa_test_main ${target}_body)
  foreach(isa IN LISTS arg_ISAS)
    if(isa IN_LIST QUANTO_ISAS)
      quanto_isa_test(${name}.${isa} ${target} ${isa})
    endif()
  endforeach()
  if(QUANTO_EMULATED_ISAS)
    add_executable(${target}_emulated)
    target_link_libraries(${target}_emulated PRIVATE quanto_emulated
                                                     ${target}_body)
  endif()
  foreach(isa IN LISTS QUANTO_EMULATED_ISAS)
    if(isa IN_LIST arg_ISAS AND NOT isa IN_LIST arg_NOT_EMULATED)
      quanto_isa_test(${name}.${isa}_emulated ${target}_emulated ${isa})
    endif()
  endforeach()
endfunction()

function(quanto_isa_test name target isa)
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(
    ${name} PROPERTIES ENVIRONMENT QUANTO_FORCE_ISA=${isa} SKIP_RETURN_CODE 77)
endfunction()
