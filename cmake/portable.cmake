# APR_PORTABLE: programs that need nothing but the C library (and a CUDA driver, opened at run time). fmt and spdlog come as
# headers; the others as static libraries. Not for distribution packages: those link what the system updates.
set(APR_FMT fmt::fmt)
set(APR_SPDLOG spdlog::spdlog)
if(APR_PORTABLE)
  set(APR_FMT fmt::fmt-header-only)
  set(APR_SPDLOG apr_spdlog_headers)
  add_library(apr_spdlog_headers INTERFACE)
  target_compile_definitions(apr_spdlog_headers INTERFACE SPDLOG_FMT_EXTERNAL)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(OPENSSL_USE_STATIC_LIBS ON)
  set(ZLIB_USE_STATIC_LIBS ON)
  add_link_options(-static-libstdc++ -static-libgcc)
endif()
