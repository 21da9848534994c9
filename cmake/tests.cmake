# apr_add_test and apr_add_script_test (below) are the only ways to add a test. GoogleTest: one program a folder, every TEST its own ctest entry.
#   apr_add_test(unit_core DIR unit/core LIBS apr_core [LABELS unit])
find_package(GTest REQUIRED)
include(GoogleTest)
function(apr_add_test name)
  cmake_parse_arguments(T "" "DIR" "LIBS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${T_DIR}/*_test.cpp)
  if(NOT sources)
    message(WARNING "apr_add_test(${name}): no *_test.cpp in ${T_DIR}")  # TEMPORARY: becomes FATAL_ERROR
    return()
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${T_LIBS} apr_test_support GTest::gtest_main GTest::gmock apr_flags)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  # gcc takes the if-else inside GoogleTest's EXPECT_* for one of the test's own.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-dangling-else>)
  target_compile_definitions(${name} PRIVATE APR_SOURCE_DIR="${PROJECT_SOURCE_DIR}" APR_BINARY="$<TARGET_FILE:apr>")
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES LABELS "${T_LABELS}" TIMEOUT 300)
endfunction()

# apr_add_script_test(NAME command...): a test that is a script; it passes by exit status 0.
function(apr_add_script_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS lint TIMEOUT 300)
endfunction()
