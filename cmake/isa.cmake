# apr_add_isa(NAME flags...): compiles kernels/cpu/isa_NAME.cpp with the flags of that instruction set, and nothing else.
# No other file gets -m flags; such an object exports one constinit table and shares no inline code (tests/lint/isa_objects.py).
function(apr_add_isa name)
  add_library(apr_isa_${name} OBJECT ${CMAKE_CURRENT_SOURCE_DIR}/cpu/isa_${name}.cpp)
  target_include_directories(apr_isa_${name} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
  target_compile_options(apr_isa_${name} PRIVATE ${ARGN} -fno-math-errno)
  target_link_libraries(apr_isa_${name} PRIVATE apr_flags)
  # clang 14 takes over five minutes for one of these at -O2 with the sanitizers; at -O1 half of 28 s without those checks of
  # pointers that the address sanitizer makes as well.
  if(APR_SANITIZE)
    target_compile_options(apr_isa_${name} PRIVATE -O1 -fno-sanitize=null,pointer-overflow,object-size)
  endif()
  target_sources(apr_kernels PRIVATE $<TARGET_OBJECTS:apr_isa_${name}>)
endfunction()
