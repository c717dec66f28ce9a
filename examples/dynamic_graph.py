"""The graph is whatever ran: Python's loops and branches decide, on values, what is differentiated."""

from corgi import arr


def main():
    a, b, c = arr([5.0]).tracked(), arr([2.0]).tracked(), arr([0.0]).tracked()
    for _ in range(10):
        c = c + a * b
        if c[0] > 50.0:
            c = c * a
    c.backward()

    assert c == arr([195300.0])
    assert c.gradient == arr([1.0])
    assert b.gradient == arr([97650.0])
    assert a.gradient == arr([232420.0])
    print(f"c = {c}, dc/da = {a.gradient}, dc/db = {b.gradient}")
    return a.gradient.item(), b.gradient.item()


if __name__ == "__main__":
    main()
