import type { Database } from './database.js';

export interface Product {
  readonly id: string;
  readonly name: string;
  /** The path of an SVG, 24 by 24. */
  readonly picture: string;
  readonly cents: number;
}

export const PRODUCTS: readonly Product[] = [
  {
    id: 'telescope',
    name: 'Telescope',
    picture: 'M3 14l12-7 2 4-12 7zM15 6l3-2 3 5-3 2M10 15l-3 7M12 14l4 8',
    cents: 24900,
  },
  { id: 'lantern', name: 'Lantern', picture: 'M9 3h6M8 6h8l2 4v8l-2 3H8l-2-3v-8zM12 11v6', cents: 3950 },
  { id: 'compass', name: 'Compass', picture: 'M12 2a10 10 0 100 20 10 10 0 000-20zM16 8l-3 6-5 2 3-6z', cents: 5900 },
];

/** An order: its address and card are tokens. */
export interface Order {
  readonly id: number;
  readonly person: number;
  readonly product: string;
  readonly cents: number;
  readonly address: string;
  readonly card: string;
  readonly ordered_at: Date;
}

/** The latest orders of a customer; older ones are not shown. */
export const ORDERS_SHOWN = 20;

/** Also of a page that was open while the customer moved. */
export const NOT_THEIRS = 'This is not your address and your card. Please load the page again.';

export class Orders {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Undefined where these are not the customer's address and card. That a token was granted does not say what it is of: a
   * card in the place of the address would be shown to whoever sends the parcel.
   */
  async place(person: number, product: Product, address: string, card: string): Promise<Order | undefined> {
    const [order] = await this.#database.query<Order>(
      `insert into orders (person, product, cents, address, card)
       select id, $2, $3, address, card from people where id = $1 and address = $4 and card = $5 returning *`,
      [person, product.id, product.cents, address, card],
    );
    return order;
  }

  async of(person: number): Promise<Order[]> {
    const latest = 'select * from orders where person = $1 order by id desc limit $2';
    return this.#database.query<Order>(latest, [person, ORDERS_SHOWN]);
  }

  async latest(): Promise<Order[]> {
    return this.#database.query<Order>('select * from orders order by id desc limit 100');
  }

  /** With the name of who ordered: what a parcel needs. */
  async toShip(id: number): Promise<(Order & { readonly name: string }) | undefined> {
    const [order] = await this.#database.query<Order & { name: string }>(
      'select orders.*, people.name from orders join people on people.id = person where orders.id = $1',
      [id],
    );
    return order;
  }
}

export function productOf(id: unknown): Product | undefined {
  return PRODUCTS.find((product) => product.id === id);
}
