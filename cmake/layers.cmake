# apr_add_layer(NAME deps...): the static library apr_NAME of src/NAME/*.cpp (and its folders, main.cpp apart), linked to the
# layers below it. The link list repeats the table of allowed includes that tests/lint/layers.py holds.
function(apr_add_layer name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(apr_${name} STATIC ${sources})
  target_include_directories(apr_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(apr_${name} PUBLIC ${ARGN} PRIVATE apr_flags)
endfunction()
