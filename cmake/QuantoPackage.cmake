# `cpack -G DEB` in a build with -DCMAKE_INSTALL_PREFIX=/usr (make deb): one
# package with the command and Quanto::core. The SDK is not in it: it is built
# against the libtorch of its user.

set(QUANTO_PACKAGE_CONTACT
    "The quanto authors <quanto@example.invalid>"
    CACHE STRING "Maintainer of the Debian package: who builds it for others")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME quanto)
set(CPACK_PACKAGE_VENDOR "The quanto authors")
set(CPACK_PACKAGE_CONTACT "${QUANTO_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY
    "quantizes checkpoints of PyTorch models; C++ library")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "The command quanto streams a safetensors checkpoint from disk to disk and
quantizes its weights to int2, int4, int8 or float8, in memory of twice the
largest tensor; it inspects, compares and verifies checkpoints.
.
The package also holds Quanto::core for C++ programs without torch: quantizers,
kernels, checkpoint files. Its headers need libfmt-dev and nlohmann-json3-dev.")
set(CPACK_COMPONENTS_ALL core cli)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
    WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libfmt-dev, nlohmann-json3-dev")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# What Debian wants beside what is installed everywhere.
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/DebianFiles.cmake)
set(CPACK_QUANTO_SOURCE_DIR ${PROJECT_SOURCE_DIR})

include(CPack)
