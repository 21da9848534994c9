# PCRE2 (8-bit) and utf8proc ship no CMake package file on every distribution: imported targets apr::pcre2 and apr::utf8proc.
function(apr_import_library target header library hint)
  find_path(${target}_header NAMES ${header})
  find_library(${target}_library NAMES ${library})
  if(NOT ${target}_header OR NOT ${target}_library)
    message(FATAL_ERROR "${library} was not found (header ${header}). Install ${hint}.")
  endif()
  add_library(apr::${target} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(apr::${target} PROPERTIES IMPORTED_LOCATION ${${target}_library}
                                                  INTERFACE_INCLUDE_DIRECTORIES ${${target}_header})
  mark_as_advanced(${target}_header ${target}_library)
endfunction()
apr_import_library(pcre2 pcre2.h pcre2-8 libpcre2-dev)
apr_import_library(utf8proc utf8proc.h utf8proc libutf8proc-dev)
