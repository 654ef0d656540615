// What both applications keep.
interface Customer {
  readonly name: string;
  readonly home: { readonly street: string; readonly city: string };
  readonly cards: readonly { readonly number: string }[];
}

export interface Shop {
  readonly customers: Map<string, Customer>;
  readonly orders: { readonly article: string; readonly card: string }[];
}
