#include <fmt/format.h>

#include <chrono>
#include <ctime>

#include "interpreter.h"
#include "methods.h"

namespace apr::model::jinja {

namespace {

constexpr std::int64_t kMaxRange = 100'000;  // jinja2.sandbox.MAX_RANGE

Value make_range(Runtime& rt, const FunctionObject&, const Args& args) {
  const Bound b("range", args, {"start", "stop", "step"}, 1);
  auto* range = rt.make<RangeObject>();
  range->start = b.has(1) ? b.integer(0, 0) : 0;
  range->stop = b.has(1) ? b.integer(1, 0) : b.integer(0, 0);
  range->step = b.integer(2, 1);
  if (range->step == 0) fail("range() arg 3 must not be zero");
  const bool up = range->step > 0;
  if (up ? range->start < range->stop : range->start > range->stop) {
    const auto low = static_cast<std::uint64_t>(up ? range->start : range->stop);
    const auto high = static_cast<std::uint64_t>(up ? range->stop : range->start);
    const std::uint64_t step =
        up ? static_cast<std::uint64_t>(range->step) : ~static_cast<std::uint64_t>(range->step) + 1;
    const std::uint64_t n = (high - low - 1) / step + 1;
    if (n > static_cast<std::uint64_t>(kMaxRange)) {
      fail(fmt::format("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange));
    }
    range->length = static_cast<std::int64_t>(n);
  }
  return Value::object(Kind::Range, range);
}

/// The entries that dict() makes of its arguments: a mapping or pairs, then names.
std::vector<std::pair<Value, Value>> dict_entries(Runtime& rt, const Args& args, std::string_view name) {
  if (args.positional.size() > 1) fail(fmt::format("{} expected at most 1 argument", name));
  std::vector<std::pair<Value, Value>> entries;
  if (!args.positional.empty()) {
    const Value& first = args.positional[0];
    if (first.is(Kind::Dict)) {
      entries = first.as<DictObject>().entries;
    } else {
      Cursor cursor(rt, first);
      for (Value item; cursor.next(item);) {
        std::vector<Value> pair = to_items(rt, item);
        if (pair.size() != 2) fail("a dictionary is made of pairs");
        set_key(rt, entries, std::move(pair[0]), std::move(pair[1]));
      }
    }
  }
  for (const auto& [key, value] : args.named) set_key(rt, entries, rt.text(key), value);
  return entries;
}

Value make_dict(Runtime& rt, const FunctionObject&, const Args& args) {
  return rt.dict(dict_entries(rt, args, "dict"));
}

Value make_namespace(Runtime& rt, const FunctionObject&, const Args& args) {
  auto* object = rt.make<NamespaceObject>();
  for (auto& [key, value] : dict_entries(rt, args, "namespace")) {
    if (!key.is_string()) fail("a namespace has names as keys");
    rt.budget.take(sizeof(object->attributes[0]) + key.view().size());
    object->attributes.emplace_back(std::string(key.view()), std::move(value));
  }
  return Value::object(Kind::Namespace, object);
}

Value make_cycler(Runtime& rt, const FunctionObject&, const Args& args) {
  if (args.positional.empty()) fail("at least one item has to be provided");
  if (!args.named.empty()) fail("cycler() takes no names");
  auto* cycler = rt.make<CyclerObject>();
  cycler->items = args.positional;
  return Value::object(Kind::Cycler, cycler);
}

Value make_joiner(Runtime& rt, const FunctionObject&, const Args& args) {
  const Bound b("joiner", args, {"sep"});
  auto* joiner = rt.make<JoinerObject>();
  joiner->separator = b.has(0) ? b.at(0) : rt.text(", ");
  return Value::object(Kind::Joiner, joiner);
}

Value raise_exception(Runtime& rt, const FunctionObject&, const Args& args) {
  const Bound b("raise_exception", args, {"message"}, 1);
  fail(std::string(to_str(rt, b.at(0)).view()));
}

std::tm civil_time(std::int64_t local_time) {
  using namespace std::chrono;
  // The years 1 to 9999, Python's range.
  constexpr std::int64_t kFirst = -62'135'596'800, kLast = 253'402'300'799;
  if (local_time < kFirst || local_time > kLast) fail("the time lies outside of the years 1 to 9999");
  const sys_seconds at{seconds(local_time)};
  const sys_days day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss clock(at - day);
  std::tm tm{};
  tm.tm_year = static_cast<int>(date.year()) - 1900;
  tm.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  tm.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  tm.tm_hour = static_cast<int>(clock.hours().count());
  tm.tm_min = static_cast<int>(clock.minutes().count());
  tm.tm_sec = static_cast<int>(clock.seconds().count());
  tm.tm_wday = static_cast<int>(weekday(day).c_encoding());
  tm.tm_yday = static_cast<int>((day - sys_days(date.year() / January / 1)).count());
  return tm;
}

/// One directive: a flag of the C library, a known letter, and nothing else.
std::string directive(const std::tm& tm, std::string_view flag, char letter) {
  constexpr std::string_view kLetters = "aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyY";
  if (letter == '%') return "%";
  if (letter == 'f') return "000000";             // the caller's time has whole seconds
  if (letter == 'z' || letter == 'Z') return "";  // and no zone
  if (kLetters.find(letter) == kLetters.npos) return fmt::format("%{}{}", flag, letter);
  const std::string format = fmt::format("%{}{}", flag, letter);
  char buffer[64];
  return {buffer, std::strftime(buffer, sizeof buffer, format.c_str(), &tm)};
}

Value strftime_now(Runtime& rt, const FunctionObject& self, const Args& args) {
  const Bound b("strftime_now", args, {"format"}, 1);
  const std::string_view format = b.text(0);
  const std::tm tm = civil_time(*self.local_time);
  Builder out(rt);
  for (std::size_t pos = 0; pos < format.size(); ++pos) {
    if (format[pos] != '%' || pos + 1 == format.size()) {
      out.add(format[pos]);
      continue;
    }
    ++pos;
    const bool flagged =
        std::string_view("-_0^#").find(format[pos]) != std::string_view::npos && pos + 1 < format.size();
    const std::string_view flag = flagged ? format.substr(pos++, 1) : std::string_view();
    out.add(directive(tm, flag, format[pos]));
  }
  return out.finish();
}

}  // namespace

void add_globals(Runtime& rt, Scope& scope, const TemplateContext& context) {
  const auto add = [&](std::string_view name, Value (*call)(Runtime&, const FunctionObject&, const Args&)) {
    auto* function = rt.make<FunctionObject>();
    function->call = call;
    function->local_time = context.local_time;
    scope.variables.emplace_back(name, Value::object(Kind::Function, function));
  };
  add("range", make_range);
  add("dict", make_dict);
  add("namespace", make_namespace);
  add("cycler", make_cycler);
  add("joiner", make_joiner);
  add("raise_exception", raise_exception);
  if (context.local_time) add("strftime_now", strftime_now);
}

}  // namespace apr::model::jinja
