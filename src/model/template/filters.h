// Filters and tests by name. args.positional[0] is the value they apply to.
#pragma once
#include <string_view>
#include <vector>

#include "runtime.h"

namespace apr::model::jinja {

using FilterFn = Value (*)(Runtime& rt, const Args& args);
using TestFn = bool (*)(Runtime& rt, const Args& args);

struct FilterRow {
  std::string_view name;
  FilterFn apply;
};
struct TestRow {
  std::string_view name;
  TestFn apply;
};

[[nodiscard]] const FilterRow* find_filter(std::string_view name);
[[nodiscard]] const TestRow* find_test(std::string_view name);
/// Throw for an unknown name.
[[nodiscard]] Value apply_filter(Runtime& rt, std::string_view name, const Args& args);
[[nodiscard]] bool apply_test(Runtime& rt, std::string_view name, const Args& args);

[[nodiscard]] Value lower_case_key(Runtime& rt, const Value& value);  // a text in lower case, anything else as it is
/// "a.0.b" walked from `item`; nothing is walked for none.
[[nodiscard]] Value walk_path(Runtime& rt, Value item, const Value& path, const Value* absent = nullptr);
[[nodiscard]] Value to_integer(Runtime& rt, const Value& value, const Value& absent, std::int64_t base);
[[nodiscard]] Value to_real(const Value& value, const Value& absent);
[[nodiscard]] Value rounded(const Value& value, std::int64_t precision, std::string_view method);

// The rows of filters.cpp's table: text_filters.cpp, list_filters.cpp, number_filters.cpp.
#define APR_FILTER(name) Value filter_##name(Runtime& rt, const Args& args);
APR_FILTER(capitalize)
APR_FILTER(center)
APR_FILTER(escape)
APR_FILTER(forceescape)
APR_FILTER(format)
APR_FILTER(indent)
APR_FILTER(lower)
APR_FILTER(replace)
APR_FILTER(safe)
APR_FILTER(string)
APR_FILTER(title)
APR_FILTER(tojson)
APR_FILTER(trim)
APR_FILTER(truncate)
APR_FILTER(upper)
APR_FILTER(urlencode)
APR_FILTER(wordcount)
APR_FILTER(attr)
APR_FILTER(batch)
APR_FILTER(default)
APR_FILTER(dictsort)
APR_FILTER(first)
APR_FILTER(groupby)
APR_FILTER(items)
APR_FILTER(join)
APR_FILTER(last)
APR_FILTER(length)
APR_FILTER(list)
APR_FILTER(map)
APR_FILTER(max)
APR_FILTER(min)
APR_FILTER(reject)
APR_FILTER(rejectattr)
APR_FILTER(reverse)
APR_FILTER(select)
APR_FILTER(selectattr)
APR_FILTER(slice)
APR_FILTER(sort)
APR_FILTER(sum)
APR_FILTER(unique)
APR_FILTER(abs)
APR_FILTER(float)
APR_FILTER(int)
APR_FILTER(round)
#undef APR_FILTER

}  // namespace apr::model::jinja
