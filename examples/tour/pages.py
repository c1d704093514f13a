"""Writes three pages with two threads."""
from concurrent.futures import ThreadPoolExecutor


def write(name):
    with open(f"{name}.html", "w") as page:
        page.write(f"<h1>{name}</h1>\n")


with ThreadPoolExecutor(2) as pool:
    for name in "one", "two", "three":
        pool.submit(write, name)
print("three pages")
