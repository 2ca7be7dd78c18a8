"""The literals of a Python module as JSON, without running it.

In: a wheel and the path of a module in it. Out: the value of its last annotated
assignment; a call `Name(x, key=y)` is {"": "Name", "args": [x], "key": y}.
"""

import ast
import json
import sys
import zipfile


def plain(node):
    match node:
        case ast.Constant(value):
            return value
        case ast.List(elements) | ast.Tuple(elements):
            return [plain(element) for element in elements]
        case ast.Dict(keys, values):
            return {plain(key): plain(value) for key, value in zip(keys, values)}
        case ast.Attribute() | ast.Name():
            return ast.unparse(node)
        case ast.Call(function, args, keywords):
            call = {"": ast.unparse(function).rsplit(".", 1)[-1]}
            if args:
                call["args"] = [plain(arg) for arg in args]
            return call | {keyword.arg: plain(keyword.value) for keyword in keywords}
        case _:
            raise SystemExit(f"line {node.lineno}: {type(node).__name__} is no literal")


wheel, path = sys.argv[1:]
module = ast.parse(zipfile.ZipFile(wheel).read(path))
assignments = [node for node in module.body if isinstance(node, ast.AnnAssign)]
json.dump(plain(assignments[-1].value), sys.stdout)
