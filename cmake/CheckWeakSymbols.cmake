# cmake -D NM=nm -D BUILD_TYPE=Release -P CheckWeakSymbols.cmake a.o b.o ...
#
# Fails if an object compiled for one instruction set defines a weak or unique
# symbol: the linker keeps one copy of such a function for the whole library,
# and might keep the one that only a wider CPU can run. Without optimisation
# even std::min becomes one, so there is nothing to learn from a debug build.

if(BUILD_TYPE STREQUAL "Debug" OR BUILD_TYPE STREQUAL "")
  message("skipped: expected an optimised build, got '${BUILD_TYPE}'")
  return()
endif()

set(objects)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(CMAKE_ARGV${i} MATCHES "\\.o$")
    list(APPEND objects ${CMAKE_ARGV${i}})
  endif()
endforeach()
list(LENGTH objects count)

set(found)
foreach(object IN LISTS objects)
  execute_process(
    COMMAND ${NM} --defined-only --demangle ${object}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [WwVvu] [^\n]*" weak "${symbols}")
  foreach(symbol IN LISTS weak)
    string(APPEND found "\n  ${object}: ${symbol}")
  endforeach()
endforeach()

if(found)
  message(FATAL_ERROR "weak symbols in code for one instruction set:${found}")
endif()
message("no weak symbol in ${count} objects")
