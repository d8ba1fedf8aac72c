"""Task types: each plugin is one small file that makes something runnable of a task template.

`registry` finds the plugin for a type; third parties add theirs with an entry point in the group
`flyte_kernel.plugins`.
"""
