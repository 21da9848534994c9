# apr_add_cuda_modules(NAMES...): kernels/cuda/NAME.cu -> one fatbinary of all architectures each, which kernels/cuda/modules.cpp
# takes into apr_kernels. One run of nvcc per module. No CUDA library is linked: the driver loads the image.
#
# APR_CUDA_KERNEL_ARCHITECTURES: SASS for each, and PTX of the first, so that every device from there on can run. The short
# default keeps a build on two cores fast; a release takes "75;80;86;89;90;100;120".
set(APR_CUDA_KERNEL_ARCHITECTURES "80;90" CACHE STRING "Compute capabilities that the kernels are compiled for")

set(apr_cuda_gencode)
foreach(arch IN LISTS APR_CUDA_KERNEL_ARCHITECTURES)
  list(APPEND apr_cuda_gencode -gencode arch=compute_${arch},code=sm_${arch})
endforeach()
list(GET APR_CUDA_KERNEL_ARCHITECTURES 0 first_arch)
list(APPEND apr_cuda_gencode -gencode arch=compute_${first_arch},code=compute_${first_arch})

# Each module once more with time stamps in its kernels (kernels/cuda/stamps.cuh), which `apr profile --device cuda` replays. Twice
# the work of nvcc, so only where a GPU may be.
option(APR_CUDA_STAMPS "Compile the kernels with time stamps, too" ${APR_PORTABLE})

function(apr_add_cuda_modules)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/cuda)
  set(images)
  set(names ${ARGN})
  if(APR_CUDA_STAMPS)
    list(TRANSFORM ARGN APPEND _stamped OUTPUT_VARIABLE stamped)
    list(APPEND names ${stamped})
  endif()
  foreach(name IN LISTS names)
    string(REGEX REPLACE "_stamped$" "" module ${name})
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/cuda/${module}.cu)
    set(stamps)
    if(NOT name STREQUAL module)
      set(stamps -DAPR_STAMPS=1)
    endif()
    add_custom_command(
      OUTPUT ${folder}/${name}.fatbin
      COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
      COMMAND ${CMAKE_CUDA_COMPILER} -fatbin -std=c++17 -O3 -fmad=false -Werror all-warnings ${stamps} ${apr_cuda_gencode}
              -I${PROJECT_SOURCE_DIR}/include -I${PROJECT_SOURCE_DIR} -MD -MF ${folder}/${name}.d -MT ${folder}/${name}.fatbin
              ${source} -o ${folder}/${name}.fatbin
      DEPENDS ${source} DEPFILE ${folder}/${name}.d COMMENT "CUDA kernels: ${name}" VERBATIM)
    list(APPEND images ${folder}/${name}.fatbin)
  endforeach()
  target_sources(apr_kernels PRIVATE cuda/modules.cpp)
  set_source_files_properties(cuda/modules.cpp PROPERTIES OBJECT_DEPENDS "${images}"
                                                          COMPILE_DEFINITIONS "APR_FATBIN_FOLDER=\"${folder}\";APR_HAVE_STAMPED=$<BOOL:${APR_CUDA_STAMPS}>")
endfunction()
