# One interface target, apr_flags, carries every compiler flag of the project.
# No -ffast-math anywhere: it folds NaN tests away. No -march: ISA flags belong to cmake/isa.cmake alone.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(apr_flags INTERFACE)
target_compile_options(apr_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror -ffp-contract=off>)
# gcc 12 reports std::string concatenation as overlapping memcpy (GCC bug 105651).
target_compile_options(apr_flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
if(APR_SANITIZE)
  target_compile_options(apr_flags INTERFACE -fsanitize=${APR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(apr_flags INTERFACE -fsanitize=${APR_SANITIZE})
endif()
# apr_quick_under_sanitizers(TARGET...): not optimised in sanitized builds, for code without hot loops: clang takes 20 s for
# a file of CLI11 and JSON with the sanitizers at -O2, and half of that at -O0.
function(apr_quick_under_sanitizers)
  if(APR_SANITIZE)
    foreach(target ${ARGN})
      target_compile_options(${target} PRIVATE -O0)
    endforeach()
  endif()
endfunction()
if(APR_COVERAGE)
  target_compile_options(apr_flags INTERFACE --coverage -O0)
  target_link_options(apr_flags INTERFACE --coverage)
endif()

find_program(APR_CCACHE ccache)
if(APR_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${APR_CCACHE})
endif()
