// Functions of the support team. An agent can call those that its file lists.

const ORDERS: Readonly<Record<string, { status: string; arrives: string }>> = {
  1042: { status: 'on its way', arrives: 'tomorrow' },
  1043: { status: 'being packed', arrives: 'on Friday' },
};

const PRODUCTS = [
  { name: 'Desk lamp Ida', price: '49 EUR', words: ['desk', 'reading', 'office', 'table'] },
  { name: 'Floor lamp Nils', price: '120 EUR', words: ['floor', 'living', 'tall', 'standing'] },
  { name: 'Night light Pim', price: '19 EUR', words: ['night', 'child', 'bedroom', 'small'] },
];

/** Data: the agent that asked gets it, and says it in its own words. */
export function order_status({ order_id }: { order_id: string }) {
  const order = ORDERS[order_id.replace(/\D/g, '')];
  return order ? { order_id, ...order } : { order_id, status: 'unknown: there is no order with this number' };
}

export function find_products({ query }: { query: string }) {
  const wanted: readonly string[] = query.toLowerCase().match(/\p{L}+/gu) ?? [];
  const found = PRODUCTS.filter(({ words }) => words.some((word) => wanted.includes(word)));
  return { products: (found.length > 0 ? found : PRODUCTS).map(({ name, price }) => ({ name, price })) };
}

/** A text: the customer sees it as it is, and no model is asked. */
export const thanks = ({ sentiment }: { sentiment?: string }) =>
  sentiment === 'bad' ? 'Thank you for telling us. We will do better.' : 'You are welcome!';

export const what_we_do = () => 'I can look up your order and help you to find a lamp. What shall it be?';
