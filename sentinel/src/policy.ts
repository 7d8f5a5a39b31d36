// The policy language, for `fame policy` and `fame why`. An entry of its own, because it loads `yaml`.
export { type Decision, Permissions } from './access/permissions.ts';
export { ACTIONS, type Action, ROLES, ROUTE_ACTIONS } from './access/policy/actions.ts';
export { parsePolicy } from './access/policy/parse-policy.ts';
export type { Policy } from './access/policy/policy.ts';
export { formatPolicyFault, shownPath } from './access/policy/policy-file.ts';
