# A layer is a folder of cpp/quanto and a static library. Its include path holds
# its own headers and those of the layers it uses, nothing else, so that an
# include that design forbids does not compile.
#
#   quanto_layer(kernels USES core HEADERS kernels.h SOURCES ref/linear.cc ...
#                COMPONENT core)
#
# SHARED makes it a shared library instead: the outermost layer, which is loaded.
# COMPONENT installs the library and HEADERS, the headers that programs may
# include (none given: all), and exports it (QuantoInstall.cmake). LIBRARIES are
# for all who include the headers; they are exported by name and must be imported
# targets.

function(quanto_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SHARED" "COMPONENT"
                        "USES;HEADERS;SOURCES;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "quanto_layer(${name}): expected known arguments, got "
                        "${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(include_root ${PROJECT_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${include_root}/quanto)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}
       ${include_root}/quanto/${name} SYMBOLIC)

  list(TRANSFORM arg_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}/)
  list(TRANSFORM arg_USES PREPEND quanto_ OUTPUT_VARIABLE used_targets)
  # What a shared library is made of stays inside.
  if(arg_SHARED)
    add_library(quanto_${name} SHARED ${arg_SOURCES})
    set(scope PRIVATE)
  else()
    add_library(quanto_${name} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
  endif()
  target_compile_features(quanto_${name} PUBLIC cxx_std_20)
  target_include_directories(quanto_${name}
                             ${scope} $<BUILD_INTERFACE:${include_root}>)
  target_link_libraries(
    quanto_${name}
    ${scope} ${used_targets} ${arg_LIBRARIES}
    PRIVATE $<BUILD_INTERFACE:quanto_warnings>)
  if(arg_COMPONENT)
    quanto_install_layer(${name} ${arg_COMPONENT} "${arg_HEADERS}")
  endif()
endfunction()
