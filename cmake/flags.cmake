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
  target_compile_options(apr_flags INTERFACE -fsanitize=${APR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
                         $<$<CXX_COMPILER_ID:Clang>:-gline-tables-only>)  # all that a stack trace shows
  target_link_options(apr_flags INTERFACE -fsanitize=${APR_SANITIZE})
endif()
# apr_quick_to_build(TARGET...): little optimised, for code without hot loops. A file of CLI11, JSON or GoogleTest takes the
# compiler a third less than at -O3, and clang with the sanitizers less than half of its time at -O2.
function(apr_quick_to_build)
  set(level $<$<NOT:$<CONFIG:Debug>>:-O1>)
  if(APR_SANITIZE)
    set(level -O0)
  endif()
  foreach(target ${ARGN})
    # At -O1 gcc 12 takes the inner buffer of a std::string for one that is too small.
    target_compile_options(${target} PRIVATE ${level} $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-array-bounds -Wno-stringop-overflow>)
  endforeach()
endfunction()
# apr_precompile(TARGET HEADER...): these headers are parsed once for the target, by gcc. A source still includes what it uses:
# clang, and the preset debug (APR_PRECOMPILE=OFF), build without and find what is missing. With this option and
# CCACHE_SLOPPINESS=pch_defines,time_macros (scripts/lib.sh) ccache keeps such objects. Not with clang: its precompiled headers
# name the folder they were made in, and one out of the cache is of no use in another.
function(apr_precompile target)
  if(APR_PRECOMPILE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_precompile_headers(${target} PRIVATE ${ARGN})
    target_compile_options(${target} PRIVATE -fpch-preprocess)
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
