// The functions of the team. An agent can call those that its entry in team.yaml lists.

const ORDERS: Readonly<Record<string, string>> = { 1042: 'on its way', 1043: 'being packed' };

const LAMPS = [
  { name: 'Desk lamp Ida', price: '49 EUR', words: ['desk', 'reading', 'office'] },
  { name: 'Floor lamp Nils', price: '120 EUR', words: ['floor', 'living', 'tall'] },
];

/** Returns data, from which the calling agent writes the answer. */
export const order_status = ({ order_id }: { order_id: string }) => ({
  order_id,
  status: ORDERS[order_id.replace(/\D/g, '')] ?? 'unknown: there is no order with this number',
});

/** Returns the lamps that match a query, or else all of them. */
export function find_products({ query }: { query: string }) {
  const words = query.toLowerCase().match(/\p{L}+/gu) ?? [];
  const found = LAMPS.filter((lamp) => words.some((word) => lamp.words.includes(word)));
  return { lamps: (found.length > 0 ? found : LAMPS).map(({ name, price }) => ({ name, price })) };
}

/** Returns a text, which the customer receives without a further model call. */
export const thanks = () => 'You are welcome!';
