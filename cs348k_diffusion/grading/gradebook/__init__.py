"""From records to marks: roster, rules, overrides, free text, reports and feedback."""
