# Sources under kernels/cpu are compiled once per instruction set, each with the
# flags below and QUANTO_ISA_<NAME> defined, and export one strong function that
# returns their table. The names are those of QUANTO_FORCE_ISA.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(QUANTO_VECTOR_ISAS avx2 avx_vnni avx512 avx512_bf16 amx_bf16)
else()
  set(QUANTO_VECTOR_ISAS neon neon_dotprod neon_i8mm)
endif()
set(QUANTO_ISAS ref ${QUANTO_VECTOR_ISAS})
# All kernels but linear's; the other sets take them from these, which
# dispatch_test proves, so that their tests are complete with these and ref.
set(QUANTO_ELEMENTWISE_ISAS avx2 avx512 neon)

set(QUANTO_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(QUANTO_FLAGS_avx_vnni ${QUANTO_FLAGS_avx2} -mavxvnni)
set(QUANTO_FLAGS_avx512
    ${QUANTO_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl
    -mavx512vnni -mprefer-vector-width=512)
set(QUANTO_FLAGS_avx512_bf16 ${QUANTO_FLAGS_avx512} -mavx512bf16)
set(QUANTO_FLAGS_amx_bf16 ${QUANTO_FLAGS_avx512_bf16} -mamx-tile -mamx-bf16
    -mamx-int8)
# Every aarch64 has NEON.
set(QUANTO_FLAGS_neon)
set(QUANTO_FLAGS_neon_dotprod -march=armv8.2-a+dotprod)
set(QUANTO_FLAGS_neon_i8mm -march=armv8.2-a+dotprod+i8mm)

# What tests also run on emulated instructions, for which AVX2 is enough:
# kernels/cpu/emulated takes the place of the wider intrinsics. A test that links
# quanto_emulated gets these kernels and their main(); the linker takes its
# objects and leaves the members of quanto_kernels that define the same.
set(QUANTO_EMULATED_ISAS)
if(QUANTO_BUILD_TESTS AND avx512 IN_LIST QUANTO_VECTOR_ISAS)
  set(QUANTO_EMULATED_ISAS avx512 avx512_bf16 amx_bf16)
  set(emulated_folder ${PROJECT_SOURCE_DIR}/cpp/quanto/kernels/cpu/emulated)
  add_library(quanto_emulated OBJECT ${emulated_folder}/features.cc
                                     ${emulated_folder}/test_main.cc)
  target_link_libraries(quanto_emulated PRIVATE quanto_kernels quanto_warnings
                                                GTest::gtest)
endif()
set(QUANTO_EMULATED_FLAGS
    ${QUANTO_FLAGS_avx2} -O2 "SHELL:-include quanto/kernels/cpu/emulated/intrinsics.h")

# quanto_isa_object(quanto_linear_avx2 linear.cc avx2 -mavx2 ...): one source
# compiled for one instruction set.
function(quanto_isa_object target source isa)
  string(TOUPPER ${isa} upper)
  add_library(${target} OBJECT
              ${PROJECT_SOURCE_DIR}/cpp/quanto/kernels/cpu/${source})
  # GCC 12 takes the undefined vectors of its own intrinsics for ours.
  target_compile_options(
    ${target} PRIVATE ${ARGN} -ffp-contract=off
                      $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>
                      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_compile_definitions(${target} PRIVATE QUANTO_ISA_${upper})
  target_include_directories(
    ${target} PRIVATE ${PROJECT_BINARY_DIR}/layers/kernels
                      ${PROJECT_BINARY_DIR}/layers/core)
  target_link_libraries(${target} PRIVATE quanto_warnings)
endfunction()

# quanto_isa_sources(linear.cc ISAS avx2 avx_vnni avx512 avx512_bf16)
function(quanto_isa_sources source)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "ISAS")
  get_filename_component(stem ${source} NAME_WE)
  foreach(isa IN LISTS arg_ISAS)
    if(NOT isa IN_LIST QUANTO_VECTOR_ISAS)
      continue()
    endif()
    set(target quanto_${stem}_${isa})
    quanto_isa_object(${target} ${source} ${isa} ${QUANTO_FLAGS_${isa}})
    target_sources(quanto_kernels PRIVATE $<TARGET_OBJECTS:${target}>)
    set_property(GLOBAL APPEND PROPERTY QUANTO_ISA_TARGETS ${target})
    if(isa IN_LIST QUANTO_EMULATED_ISAS)
      quanto_isa_object(${target}_emulated ${source} ${isa}
                        ${QUANTO_EMULATED_FLAGS})
      target_sources(quanto_emulated
                     INTERFACE $<TARGET_OBJECTS:${target}_emulated>)
    endif()
  endforeach()
endfunction()

# Registers the test that no object of quanto_isa_sources() defines a weak
# symbol. Call it after all of those.
function(quanto_isa_symbols_test name)
  get_property(targets GLOBAL PROPERTY QUANTO_ISA_TARGETS)
  if(NOT QUANTO_BUILD_TESTS OR NOT targets)
    return()
  endif()
  list(TRANSFORM targets REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  add_test(
    NAME ${name}
    COMMAND ${CMAKE_COMMAND} -D NM=${CMAKE_NM} -D BUILD_TYPE=$<CONFIG> -P
            ${PROJECT_SOURCE_DIR}/cmake/CheckWeakSymbols.cmake ${targets}
    COMMAND_EXPAND_LISTS)
  set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped: ")
endfunction()
