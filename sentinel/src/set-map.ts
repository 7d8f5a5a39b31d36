// Maps of sets, such as the providers of each capability. A key without values has no entry.

/** Adds a value to the set of a key. */
export function addTo<Key, Value>(sets: Map<Key, Set<Value>>, key: Key, value: Value): void {
  const values = sets.get(key);
  if (values === undefined) sets.set(key, new Set<Value>().add(value));
  else values.add(value);
}

/** Removes a value from the set of a key; `false` if it is not there. */
export function removeFrom<Key, Value>(sets: Map<Key, Set<Value>>, key: Key, value: Value): boolean {
  const values = sets.get(key);
  if (!values?.delete(value)) return false;
  if (values.size === 0) sets.delete(key);
  return true;
}
