// A parsed template. Nodes belong to the program's pools and point at each other plainly, so that a deep tree is freed
// without recursion.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime.h"

namespace apr::model::jinja {

struct Expr;
struct Stmt;
using Block = std::vector<const Stmt*>;

struct CallArgs {
  std::vector<const Expr*> positional;
  std::vector<std::pair<std::string, const Expr*>> named;
  const Expr* rest = nullptr;        // *args
  const Expr* rest_named = nullptr;  // **kwargs
};

enum class ExprKind : std::uint8_t {
  Constant,      // constant
  Name,          // text
  Attribute,     // items[0].text
  NamespaceRef,  // a target: attribute text of the namespace that items[0], a Name, stands for
  Item,          // items[0][items[1]]
  Slice,         // items[0][items[1]:items[2]:items[3]], absent parts nullptr
  Call,          // items[0](args)
  Filter,        // items[0] | text(args); items[0] is nullptr in a filter block
  Test,          // items[0] is text(args)
  Unary,         // ops[0] items[0]
  Binary,        // items[0] ops[0] items[1]
  Concat,        // items[0] ~ items[1] ~ ...
  Compare,       // items[0] ops[0] items[1] ops[1] items[2] ...
  And,
  Or,
  Condition,  // items[0] if items[1] else items[2], which may be nullptr
  List,
  Tuple,
  Dict,  // key, value, key, value, ...
};

struct Expr {
  ExprKind kind = ExprKind::Constant;
  std::uint32_t offset = 0;  // in Program::source
  std::string text;
  Value constant;
  std::vector<const Expr*> items;
  std::vector<Op> ops;
  CallArgs args;
};

/// A macro, or the body of a call block (without a name).
struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<const Expr*> defaults;  // of the last parameters
  Block body;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

enum class StmtKind : std::uint8_t {
  Data,         // data
  Output,       // expr
  Set,          // target = expr
  SetBlock,     // target = body, through expr (a filter chain) if there is one
  If,           // branches; the last one has no condition when there is an else
  For,          // for target in expr if test: body, else branches[0]
  MacroDef,     // macro
  CallBlock,    // expr (a Call) with macro as its caller
  FilterBlock,  // body through expr
  With,         // branches' conditions are the values of targets; body
  Scope,        // body in a scope of its own (generation)
  Break,
  Continue,
};

struct Branch {
  const Expr* condition = nullptr;
  Block body;
};

struct Stmt {
  StmtKind kind = StmtKind::Data;
  std::uint32_t offset = 0;
  std::string data;
  const Expr* expr = nullptr;
  const Expr* target = nullptr;
  const Expr* test = nullptr;
  Block body;
  std::vector<Branch> branches;
  std::vector<const Expr*> targets;
  std::unique_ptr<Macro> macro;
  bool recursive = false;
};

struct Program {
  std::string name;
  std::string source;  // with \n line ends
  Block body;
  std::vector<std::unique_ptr<Expr>> exprs;
  std::vector<std::unique_ptr<Stmt>> stmts;

  /// "NAME: line L, column C", counted from 1; columns in code points.
  [[nodiscard]] std::string place(std::size_t offset) const;
};

}  // namespace apr::model::jinja
