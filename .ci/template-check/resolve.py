"""What CloudFormation makes of a template for given parameters: conditions, Ref, Fn::If, Fn::Join, Fn::Split, Fn::Sub
where everything is known. References to resources stay as they are."""

import re

NO_VALUE = object()


class Resolver:
    def __init__(self, template, values):
        self.conditions = template.get("Conditions", {})
        self.values = {}
        for name, parameter in template.get("Parameters", {}).items():
            value = values.get(name, parameter.get("Default"))
            kind = parameter["Type"]
            if kind == "CommaDelimitedList":
                value = str(value).split(",")
            elif kind == "Number":
                value = int(value)
            self.values[name] = value

    def condition(self, node):
        if isinstance(node, str):
            return self.condition(self.conditions[node])
        ((name, argument),) = node.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Equals":
            left, right = (self.value(item) for item in argument)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self.condition(argument[0])
        if name == "Fn::And":
            return all([self.condition(item) for item in argument])
        if name == "Fn::Or":
            return any([self.condition(item) for item in argument])
        raise ValueError(f"a condition with {name}")

    def value(self, node):
        if isinstance(node, list):
            items = (self.value(item) for item in node)
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref":
                return NO_VALUE if argument == "AWS::NoValue" else self.values.get(argument, node)
            if name == "Fn::If":
                condition, yes, no = argument
                return self.value(yes if self.condition(condition) else no)
            if name == "Fn::Join":
                separator, parts = argument[0], self.value(argument[1])
                known = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
                return separator.join(parts) if known else {name: [separator, parts]}
            if name == "Fn::Split":
                text = self.value(argument[1])
                return text.split(argument[0]) if isinstance(text, str) else node
            if name == "Fn::Sub" and isinstance(argument, str):
                text = re.sub(r"\$\{(\w+)\}", lambda found: str(self.values.get(found[1], found[0])), argument)
                return text if "${" not in text else {name: text}
        items = ((key, self.value(item)) for key, item in node.items())
        return {key: item for key, item in items if item is not NO_VALUE}

    def resolve(self, template):
        """The resources and outputs that exist, without parameters and conditions."""
        kept = {key: template[key] for key in ("AWSTemplateFormatVersion", "Description") if key in template}
        for section in ("Resources", "Outputs"):
            kept[section] = {
                name: self.value({key: item for key, item in entry.items() if key != "Condition"})
                for name, entry in template.get(section, {}).items()
                if "Condition" not in entry or self.condition(entry["Condition"])
            }
        return kept
