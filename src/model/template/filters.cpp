#include "filters.h"

#include <fmt/format.h>

namespace apr::model::jinja {

namespace {

/// Most filters and tests of a text look at all of it.
void charge(Runtime& rt, const Args& args) {
  rt.budget.step();
  if (!args.positional.empty() && args.positional[0].is_string()) rt.scan(args.positional[0].view());
}

constexpr FilterRow kFilters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"batch", filter_batch},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"first", filter_first},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"groupby", filter_groupby},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", filter_lower},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_rejectattr},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_safe},
    {"select", filter_select},
    {"selectattr", filter_selectattr},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"string", filter_string},
    {"sum", filter_sum},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"unique", filter_unique},
    {"upper", filter_upper},
    {"urlencode", filter_urlencode},
    {"wordcount", filter_wordcount},
};

}  // namespace

const FilterRow* find_filter(std::string_view name) {
  for (const FilterRow& row : kFilters) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

Value apply_filter(Runtime& rt, std::string_view name, const Args& args) {
  charge(rt, args);
  const FilterRow* row = find_filter(name);
  if (row == nullptr) fail(fmt::format("No filter named '{}' found.", name));
  return row->apply(rt, args);
}

bool apply_test(Runtime& rt, std::string_view name, const Args& args) {
  charge(rt, args);
  const TestRow* row = find_test(name);
  if (row == nullptr) fail(fmt::format("No test named '{}' found.", name));
  return row->apply(rt, args);
}

}  // namespace apr::model::jinja
