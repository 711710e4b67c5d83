# Quanto::torch: the libtorch of whoever builds, under one name, which an
# installed target can refer to. Included by this build and by the installed
# package; CMAKE_PREFIX_PATH or Torch_DIR says where libtorch is.

if(NOT TARGET Quanto::torch)
  find_package(Torch REQUIRED)
  add_library(Quanto::torch INTERFACE IMPORTED GLOBAL)
  target_link_libraries(Quanto::torch INTERFACE ${TORCH_LIBRARIES})
endif()
