# What `cmake --install` puts where, by component:
#
#   core   headers and static libraries without torch, the package's files
#   cli    the command, its man page and completion
#   ops    libquanto.so, the torch operators
#   nn     the libtorch SDK
#   wheel  what scikit-build-core takes, to its own places
#
# core, ops and nn are exported each in its own file, for a program without torch
# must find the package without torch.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(quanto_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Quanto)

# The target quanto_<name> as Quanto::<export_name>, also in this build.
function(quanto_export name export_name component)
  set_target_properties(quanto_${name} PROPERTIES EXPORT_NAME ${export_name})
  add_library(Quanto::${export_name} ALIAS quanto_${name})
  if(NOT QUANTO_INSTALL)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY QUANTO_EXPORTED ${component})
  install(
    TARGETS quanto_${name}
    EXPORT quanto_${component}_targets
    COMPONENT ${component}
    INCLUDES
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endfunction()

# A layer and its headers: those given, or all but the tests' own. The parts of
# Quanto::core are exported under names that nobody types.
function(quanto_install_layer name component headers)
  if(component STREQUAL "core")
    quanto_export(${name} ${name}_layer core)
  else()
    quanto_export(${name} ${name} ${component})
  endif()
  if(NOT QUANTO_INSTALL)
    return()
  endif()
  if(NOT headers)
    install(
      DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}
      DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quanto
      COMPONENT ${component}
      FILES_MATCHING
      PATTERN *.h
      PATTERN test_*.h EXCLUDE)
  endif()
  foreach(header IN LISTS headers)
    get_filename_component(folder quanto/${name}/${header} DIRECTORY)
    install(
      FILES ${PROJECT_SOURCE_DIR}/cpp/quanto/${name}/${header}
      DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/${folder}
      COMPONENT ${component})
  endforeach()
endfunction()

# The package's files; call it after the last layer.
function(quanto_install_package)
  if(NOT QUANTO_INSTALL)
    return()
  endif()
  set(config ${PROJECT_BINARY_DIR}/package/QuantoConfig.cmake)
  set(version ${PROJECT_BINARY_DIR}/package/QuantoConfigVersion.cmake)
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/QuantoConfig.cmake.in ${config}
    INSTALL_DESTINATION ${quanto_package_dir} NO_SET_AND_CHECK_MACRO)
  # Before 1.0 the interface may change with every minor version.
  write_basic_package_version_file(${version} COMPATIBILITY SameMinorVersion)
  install(
    FILES ${config} ${version}
    DESTINATION ${quanto_package_dir}
    COMPONENT core)
  get_property(components GLOBAL PROPERTY QUANTO_EXPORTED)
  list(REMOVE_DUPLICATES components)
  foreach(component IN LISTS components)
    install(
      EXPORT quanto_${component}_targets
      FILE Quanto-${component}-targets.cmake
      NAMESPACE Quanto::
      DESTINATION ${quanto_package_dir}
      COMPONENT ${component})
  endforeach()
  if(nn IN_LIST components)
    install(
      FILES ${PROJECT_SOURCE_DIR}/cmake/QuantoTorch.cmake
      DESTINATION ${quanto_package_dir}
      COMPONENT nn)
  endif()
endfunction()
