# A layer is a folder of cpp/quanto and a static library. Its include path holds
# its own headers and those of the layers it uses, nothing else, so that an
# include that design forbids does not compile.
#
#   quanto_layer(kernels USES core SOURCES ref/linear.cc ...)
#
# SHARED makes it a shared library instead: the outermost layer, which is loaded.

function(quanto_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SHARED" "" "USES;SOURCES;LIBRARIES")
  set(include_root ${PROJECT_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${include_root}/quanto)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}
       ${include_root}/quanto/${name} SYMBOLIC)

  list(TRANSFORM arg_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}/)
  if(arg_SHARED)
    add_library(quanto_${name} SHARED ${arg_SOURCES})
  else()
    add_library(quanto_${name} STATIC ${arg_SOURCES})
  endif()
  target_include_directories(quanto_${name} PUBLIC ${include_root})
  list(TRANSFORM arg_USES PREPEND quanto_ OUTPUT_VARIABLE used_targets)
  target_link_libraries(
    quanto_${name}
    PUBLIC ${used_targets} ${arg_LIBRARIES}
    PRIVATE quanto_warnings)
endfunction()
