# apr_add_test and apr_add_script_test (below) are the only ways to add a test. GoogleTest: one program a folder, every TEST its own ctest entry.
#   apr_add_test(unit_core DIR unit/core LIBS apr_core [LABELS unit] [HOT] [SANITIZED FILTER])
# HOT: its tests compute much themselves. SANITIZED: of them only these run under the sanitizers (a filter of GoogleTest).
find_package(GTest REQUIRED)
include(GoogleTest)
function(apr_add_test name)
  cmake_parse_arguments(T "HOT" "DIR;SANITIZED" "LIBS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${T_DIR}/*_test.cpp)
  if(NOT sources)
    message(FATAL_ERROR "apr_add_test(${name}): no *_test.cpp in ${T_DIR}")
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${T_LIBS} apr_test_support GTest::gtest_main GTest::gmock apr_flags)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  # gcc takes the if-else inside GoogleTest's EXPECT_* for one of the test's own.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-dangling-else>)
  apr_precompile(${name} <gmock/gmock.h> <fmt/format.h> <nlohmann/json.hpp>)
  if(NOT T_HOT)
    apr_quick_to_build(${name})
  endif()
  set(filter)
  if(APR_SANITIZE AND T_SANITIZED)
    set(filter TEST_FILTER ${T_SANITIZED})
  endif()
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 ${filter} PROPERTIES TIMEOUT 300)
  # Labels come behind: as a property given above, all but the first of a list would become properties themselves.
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake
       "if(${name}_TESTS)\n  set_tests_properties(\${${name}_TESTS} PROPERTIES LABELS \"${T_LABELS}\")\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
endfunction()

# apr_add_script_test(NAME command...): a test that is a script; it passes by exit status 0.
function(apr_add_script_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS lint TIMEOUT 300)
endfunction()
